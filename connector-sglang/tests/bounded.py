"""What the tests of faults hold all calls to, and how they read what the metrics say of them."""

from __future__ import annotations

import time
from typing import Any

from prometheus_client import REGISTRY

#: No call may take longer, whatever happened: some deadlines and a slow machine.
BOUND_SECONDS = 30.0


def timed(work: Any) -> Any:
    """The result of work that ends in time."""
    begin = time.monotonic()
    result = work()
    assert time.monotonic() - begin < BOUND_SECONDS
    return result


def calls(call: str, outcome: str) -> float:
    """How many calls ended so."""
    return REGISTRY.get_sample_value("kvasir_sglang_calls_total", {"call": call, "outcome": outcome}) or 0.0
