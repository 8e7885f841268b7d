"""The speed of prefill from the times of single steps."""

from __future__ import annotations

import pytest
from clock import Clock

from kvasir_vllm.scheduler.prefill import PrefillSpeed


def test_prefill_speed_is_that_of_steps_with_many_tokens_of_prompts() -> None:
    clock = Clock()
    speed = PrefillSpeed(clock)
    for prefill, decode, seconds in [(512, 0, 0.5), (4, 0, 0.1), (0, 200, 0.1), (130, 200, 0.1)]:
        number = speed.scheduled(prefill, decode)
        clock.now += seconds
        speed.ended(number)
        assert speed.tokens_per_s == pytest.approx(1024)


def test_prefill_speed_is_measured_between_outputs_when_steps_overlap() -> None:
    clock = Clock()
    speed = PrefillSpeed(clock)
    # Three are scheduled at once; each runs for 0.5 s, one after the other.
    flying = [speed.scheduled(512, 0) for _ in range(3)]
    for number in flying:
        clock.now += 0.5
        speed.ended(number)
        assert speed.tokens_per_s == pytest.approx(1024)
    # After a pause, a step begins when it is scheduled.
    clock.now += 3.0
    number = speed.scheduled(512, 0)
    clock.now += 0.5
    speed.ended(number)
    assert speed.tokens_per_s == pytest.approx(1024)


def test_step_without_an_output_does_not_stay() -> None:
    clock = Clock()
    speed = PrefillSpeed(clock)
    assert speed.scheduled(0, 0) == 0
    speed.ended(0)
    for _ in range(1000):
        number = speed.scheduled(512, 0)
    assert len(speed._steps) <= 64
    clock.now += 0.5
    speed.ended(number)
    assert not speed._steps
