"""Stress tests pass when all of them ran and passed, and not because jcstress ended well."""

from __future__ import annotations

from kvasir_bench.checks.stress import problems

RUNNING = "(Results: 30 planned; 12 passed, 0 failed, 0 soft errs, 0 hard errs)\n"
DONE = "(Results: 30 planned; 30 passed, 0 failed, 0 soft errs, 0 hard errs)\n"


def test_all_that_was_planned_has_passed() -> None:
    assert problems(0, RUNNING + DONE) == []


def test_what_did_not_pass_is_a_problem() -> None:
    broken = "(Results: 30 planned; 28 passed, 1 failed, 0 soft errs, 1 hard errs)\n"
    assert problems(1, RUNNING + broken) == [
        "jcstress ended with status 1",
        "30 runs were planned, 28 passed, 1 failed, 1 had errors",
    ]


def test_a_run_that_ended_early_is_a_problem() -> None:
    assert problems(0, RUNNING) == ["30 runs were planned, 12 passed, 0 failed, 0 had errors"]


def test_no_test_is_a_problem() -> None:
    assert problems(0, "") == ["jcstress printed no results"]
    assert problems(0, "(Results: 0 planned; 0 passed, 0 failed, 0 soft errs, 0 hard errs)") != []
