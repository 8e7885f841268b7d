"""The README's table of figures: what it shows of a run, and that the rest of the page stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvasir_bench.figures import BEGIN, END, figures_table, replace_figures

HOME = Path(__file__).resolve().parents[3]
RECORD = {
    "id": "restart.first_hit",
    "suite": "restart",
    "name": "first hit after kill -9",
    "value": 1.234,
    "unit": "s",
    "reference": "",
    "reference_value": None,
    "ratio": None,
    "goal": "<= 3 s",
    "met": False,
}


def test_missed_goal_is_shown_as_missed() -> None:
    assert "| first hit after kill -9 (`restart.first_hit`) | 1.23 s | - | - | **no** |" in figures_table([RECORD])


def test_records_that_nobody_asks_for_first_are_an_error_when_alone() -> None:
    with pytest.raises(ValueError, match="none of the records"):
        figures_table([{**RECORD, "id": "control.ping"}])


def test_only_the_part_between_the_marks_changes() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replace_figures(page, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"


def test_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="no '"):
        replace_figures("nothing", "new")


def test_readme_has_the_marks() -> None:
    assert "new" in replace_figures((HOME / "README.md").read_text(encoding="utf-8"), "new")
