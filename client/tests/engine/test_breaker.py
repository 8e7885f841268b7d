"""The breaker, on a clock that the test moves."""

from __future__ import annotations

from kvasir.engine.breaker import FIRST_PAUSE_S, LONGEST_PAUSE_S, Breaker


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_breaker_opens_after_a_run_of_failures_and_probes_its_way_back() -> None:
    clock = Clock()
    breaker = Breaker(3, clock)
    assert [breaker.failed(), breaker.failed(), breaker.failed()] == [False, False, True]
    assert not breaker.allow()
    clock.now += FIRST_PAUSE_S
    assert breaker.allow()
    assert not breaker.allow()
    breaker.failed()
    clock.now += FIRST_PAUSE_S
    assert not breaker.allow()
    clock.now += FIRST_PAUSE_S
    assert breaker.allow()
    assert breaker.succeeded()
    assert breaker.allow()
    assert not breaker.is_open


def test_breaker_never_pauses_longer_than_its_limit() -> None:
    clock = Clock()
    breaker = Breaker(1, clock)
    for _ in range(20):
        breaker.failed()
    clock.now += LONGEST_PAUSE_S
    assert breaker.allow()


def test_success_between_failures_keeps_the_breaker_closed() -> None:
    breaker = Breaker(2, Clock())
    for _ in range(5):
        assert not breaker.failed()
        breaker.succeeded()
    assert breaker.allow()


def test_pauses_are_those_that_were_asked_for() -> None:
    clock = Clock()
    breaker = Breaker(1, clock, first_pause=0.1, longest_pause=0.2)
    breaker.failed()
    for pause in (0.1, 0.2, 0.2):
        clock.now += pause - 0.01
        assert not breaker.allow()
        clock.now += 0.01
        assert breaker.allow()
        breaker.failed()
