"""Tables of the commands: what is at which side, and that nothing is cut off."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from kvasir_ops.tables import table_of


def lines(width: int, title: str, *arguments: object, **options: object) -> list[str]:
    console = Console(width=width, file=StringIO(), color_system=None)
    console.print(table_of(title, *arguments, **options))  # type: ignore[arg-type]
    assert isinstance(console.file, StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


def test_words_stand_at_the_left_and_figures_at_the_right() -> None:
    rows = [("a", "1", "x"), ("bb", "1000", "yy")]
    title, headings, rule, first, second = lines(40, "What", ["name", "count", "note"], rows, words=(0, 2))
    assert title == "What"
    assert headings.split() == ["name", "count", "note"]
    assert set(rule) == {"─"}
    assert first.index("1") + 1 == second.index("1000") + 4
    assert first.index("x") == second.index("yy")


def test_without_headings_there_is_no_line_of_them() -> None:
    shown = lines(40, "What", ["", ""], [("hits", "3"), ("misses", "4")])
    assert [line.split() for line in shown] == [["What"], ["hits", "3"], ["misses", "4"]]


def test_a_row_that_is_shorter_ends_with_empty_cells() -> None:
    assert lines(40, "What", ["", "own", "others"], [("hits", "3")])[-1].split() == ["hits", "3"]


def test_a_long_note_is_continued_and_not_cut() -> None:
    note = "https://example.org/" + "x" * 60
    shown = lines(50, "What", ["part", "note"], [("one", note)], words=(0, 1))
    assert "".join(line.removeprefix("one").strip() for line in shown[3:]) == note
