"""What the connector counts. SGLang exposes prometheus_client's registry, so these stand on its own metrics page."""

from __future__ import annotations

import logging
from collections import deque
from typing import Final, TypeVar

from prometheus_client import Counter, Histogram

logger = logging.getLogger("kvasir_sglang")
Sample = TypeVar("Sample", int, float)

CALLS: Final = Counter(
    "kvasir_sglang_calls",
    "Calls of SGLang, by outcome: ok, circuit_open, bad_pages, internal, or the client's error code.",
    ["call", "outcome"],
)
PAGES: Final = Counter(
    "kvasir_sglang_pages",
    "Pages of these calls: loaded, missed, stored, already there (exists, in_flight), or why not stored.",
    ["call", "outcome"],
)
BYTES: Final = Counter("kvasir_sglang_bytes", "Bytes copied.", ["direction"])
SECONDS: Final = Histogram(
    "kvasir_sglang_call_seconds",
    "Length of calls.",
    ["call"],
    buckets=(0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
)

#: Samples that SGLang has not fetched yet; older ones go when it never asks.
_SAMPLES: Final = 1024


class Throughput:
    """Pages and GB/s of each batch, until SGLang's ``get_stats`` fetches them. Thread-safe: deques are."""

    def __init__(self) -> None:
        self._pages: deque[int] = deque(maxlen=_SAMPLES)
        self._bandwidth: deque[float] = deque(maxlen=_SAMPLES)

    def add(self, pages: int, size: int, seconds: float) -> None:
        """One batch."""
        if pages:
            self._pages.append(pages)
            self._bandwidth.append(size / max(seconds, 1e-9) / 1e9)

    def take(self) -> tuple[list[int], list[float]]:
        """What came since the last time."""
        return _drain(self._pages), _drain(self._bandwidth)


def _drain(samples: deque[Sample]) -> list[Sample]:
    taken = []
    while samples:
        taken.append(samples.popleft())
    return taken
