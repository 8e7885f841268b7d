from __future__ import annotations

from kvasir.backoff import Backoff


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(0.1, 1.0)
    assert [round(backoff.failed(), 3) for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_next_attempt_is_due_once_the_pause_is_over() -> None:
    clock = Clock()
    backoff = Backoff(1.0, 8.0, clock)
    assert backoff.due
    backoff.failed()
    clock.now += 0.9
    assert not backoff.due
    clock.now += 0.2
    assert backoff.due


def test_success_makes_the_next_attempt_due_and_the_next_pause_the_first() -> None:
    clock = Clock()
    backoff = Backoff(1.0, 8.0, clock)
    backoff.failed()
    backoff.failed()
    backoff.reset()
    assert backoff.due
    assert backoff.failed() == 1.0
