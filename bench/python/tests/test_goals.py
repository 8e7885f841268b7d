"""A campaign passes by the records that were named, and not because something else was fine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kvasir_bench.checks.goals import problems
from kvasir_bench.checks.long import LONG_PARTS, long_parts
from kvasir_bench.records import Record, at_most, record


def lost(count: float) -> Record:
    return record("restart.lost", "lost", "objects", [count], "expected", [100.0], at_most())


def test_required_record_that_meets_its_goal_is_no_problem() -> None:
    assert problems([lost(0)], ["restart.lost"]) == []


def test_required_record_that_is_missing_or_missed_is_a_problem() -> None:
    assert problems([], ["restart.lost"]) == ["there is no record restart.lost"]
    assert problems([lost(2)], ["restart.lost"]) == ["restart.lost is 2 objects, which misses its goal"]


def test_record_that_is_not_required_decides_nothing() -> None:
    assert problems([lost(2)], []) == []


def test_campaigns_have_a_name_and_a_small_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVASIR_BUILD", str(tmp_path / "0123"))
    full, small = long_parts(tmp_path, ["kills"], small=False)[0], long_parts(tmp_path, ["kills"], small=True)[0]
    assert "1000" in full.command
    assert "20" in small.command
    assert any("kills-0123.json" in argument for argument in full.command)
    assert len(long_parts(tmp_path, [], small=False)) == len(LONG_PARTS)


def test_a_control_belongs_to_times_which_no_small_form_judges(tmp_path: Path) -> None:
    full, small = (long_parts(tmp_path, ["hostile"], small)[0].command for small in (False, True))
    assert ("--no-control" in full, "--no-control" in small) == (False, True)
    assert "--require=hostile.p99" not in small


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--small"], "--small is a form of --long"),
        (["--long", "kils"], "no long part kils; there are: "),
        (["--long", "--engines"], "--long runs the campaigns alone"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(arguments: list[str], complaint: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kvasir_bench.checks", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert complaint in done.stderr
