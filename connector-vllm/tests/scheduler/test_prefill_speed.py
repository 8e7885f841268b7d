"""The prefill speed that the node is told, under vLLM's real schedulers and a clock that the test moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from clock import Clock
from kvasir_ops.testing import MIB, Node
from test_stepping import tokens

pytestmark = [pytest.mark.engine, pytest.mark.integration]

SPEED = 38_000.0
SCHEDULING_S = 0.0002
SHORTEST_STEP_S = 0.018
DECODED_TOKEN_S = 0.00002


class Gpu:
    """Time of an engine: a step is scheduled in no time, and runs after those before it."""

    def __init__(self, harness: Any) -> None:
        from kvasir_vllm.scheduler.prefill import PrefillSpeed

        self.clock = Clock()
        self._harness = harness
        self._free_at = 0.0
        self._scheduled: dict[int, float] = {}
        harness.connector._scheduler._speed = PrefillSpeed(self.clock)
        inner = harness.scheduler.schedule
        self._computed: dict[str, int] = {}

        def schedule(*arguments: Any, **named: Any) -> Any:
            step = inner(*arguments, **named)
            self.clock.now += SCHEDULING_S
            self._scheduled[id(step)] = self.clock.now
            return step

        harness.scheduler.schedule = schedule
        harness.ran = self._ran

    @property
    def told(self) -> float:
        """Tokens per second."""
        return float(self._harness.connector._scheduler._speed.tokens_per_s)

    def _ran(self, step: Any) -> None:
        prefill = 0
        for name, count in step.num_scheduled_tokens.items():
            begin = self._computed.get(name, 0)
            prefill += max(0, min(count, self._prompt - begin))
            self._computed[name] = begin + count
        decode = step.total_num_scheduled_tokens - prefill
        # Reading the weights takes a while, whatever is computed with them.
        seconds = max(SHORTEST_STEP_S, prefill / SPEED + decode * DECODED_TOKEN_S)
        self._free_at = max(self._free_at, self._scheduled.pop(id(step))) + seconds
        self.clock.now = max(self.clock.now, self._free_at)

    _prompt = 3000


@pytest.mark.parametrize(("asynchronous", "delay"), [(False, 0), (True, 1), (True, 2)])
def test_speed_of_prefill_is_told_as_it_is(model: Path, asynchronous: bool, delay: int) -> None:
    from stepping import Harness

    with Node(dram=64 * MIB, ssd=0, region=4 * MIB) as node:
        harness = Harness(
            model, node.socket, blocks=1000, asynchronous=asynchronous, delay=delay, sequences=256, batched=2048,
            extra={"load": False, "store": False},
        )  # fmt: skip
        try:
            gpu = Gpu(harness)
            for number in range(4):
                harness.add(f"alone {number}", tokens(3000, f"alone {number}"), 2)
                harness.run()
                assert gpu.told == pytest.approx(SPEED, rel=0.1)
            for number in range(8):
                harness.add(f"together {number}", tokens(3000, f"together {number}"), 2)
            harness.run()
            assert gpu.told == pytest.approx(SPEED, rel=0.1)
        finally:
            harness.close()


@pytest.mark.parametrize(("asynchronous", "delay"), [(False, 0), (True, 1), (True, 2)])
def test_decoding_many_requests_does_not_count_as_prefill(model: Path, asynchronous: bool, delay: int) -> None:
    from stepping import Harness

    with Node(dram=64 * MIB, ssd=0, region=4 * MIB) as node:
        harness = Harness(
            model, node.socket, blocks=1000, asynchronous=asynchronous, delay=delay, sequences=256, batched=2048,
            extra={"load": False, "store": False},
        )  # fmt: skip
        try:
            gpu = Gpu(harness)
            gpu._prompt = 40
            for number in range(200):
                harness.add(f"r{number}", tokens(40, f"decoded {number}"), 30)
            harness.run()
            assert gpu.told == pytest.approx(SPEED, rel=0.1)
        finally:
            harness.close()
