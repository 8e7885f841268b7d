from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kvasir_bench.engines import demo
from kvasir_bench.engines.demo import CannotRunError, Turn, VllmDemo, failures

COMPUTED = Turn(1, 0, 2000, 0, 0, 1.0, 1.0, True)
MOVED = Turn(2, 1, 2500, 1792, 0, 1.2, 0.1, True)


def test_a_run_in_which_every_turn_that_moved_was_loaded_has_no_failures() -> None:
    assert failures([COMPUTED, MOVED]) == []


def test_another_answer_is_a_failure() -> None:
    assert failures([COMPUTED, replace(MOVED, same=False)]) == ["turn 2: another answer than without Kvasir"]


def test_a_turn_that_moved_and_loaded_nothing_is_a_failure() -> None:
    assert failures([COMPUTED, replace(MOVED, loaded_tokens=0)]) == ["turn 2: nothing was loaded"]


def test_without_enough_memory_it_says_how_much_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "free_memory", lambda: 1 << 30)
    with pytest.raises(CannotRunError, match=r"take 6\.8 GiB of memory; 1\.0 GiB are free"):
        VllmDemo(tmp_path, tmp_path, tmp_path, print).run()


def test_free_memory_is_read_from_the_system() -> None:
    assert 0 < demo.free_memory() < 1 << 50
