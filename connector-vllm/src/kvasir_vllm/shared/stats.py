"""What a connector counts, in the shape of vLLM's own statistics: logged by vLLM and shown at its ``/metrics``."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import Counter, Gauge, Histogram
from vllm.distributed.kv_transfer.kv_connector.v1.metrics import KVConnectorPromMetrics, KVConnectorStats

from kvasir_vllm.shared.published import METRIC

TOTALS: Mapping[str, str] = {
    "offered_tokens": "Tokens that were loaded instead of computed, before failures.",
    "loads": "Loads that have ended, over all ranks.",
    "failed_loads": "Loads of which something did not arrive, over all ranks.",
    "loaded_bytes": "Bytes copied out of the node's memory.",
    "stores": "Stores that were tried, over all ranks.",
    "failed_stores": "Stores of which something was not stored, over all ranks.",
    "stored_bytes": "Bytes copied into the node's memory and committed.",
    "lookups": "Lookups sent to the node.",
    "failed_lookups": "Lookups that the node did not answer in time.",
    "handoffs": "Prompts whose chunks were to be sent to a decode engine's node.",
    "failed_handoffs": "Prompts of those that the node could not be asked to send, or refused to.",
    "stores_left_out": "Stores of which something had to wait, because stores in flight pin enough blocks.",
}
"""Sums; each becomes ``vllm:kvasir_<name>_total``."""

SECONDS: Mapping[str, str] = {
    "load_seconds": "Time of a load on one rank, from its order to its last copy.",
    "store_seconds": "Time of a store on one rank, from its order to its commit.",
    "lookup_seconds": "Time from asking the node to its answer.",
}
"""Lists of durations; each becomes the histogram ``vllm:kvasir_<name>``."""

IDENTITY = "identity"
"""The engine's identity (:mod:`kvasir_vllm.shared.published`), now and then among the sums."""

_BUCKETS = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Counters:
    """A worker's sums; written on its threads, taken once a step."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.loaded_bytes = 0
        self.stored_bytes = 0
        self._totals: dict[str, int] = {}
        self._seconds: dict[str, list[float]] = {}

    def load(self, seconds: float, *, failed: bool) -> None:
        """A load ended."""
        self._count("load", seconds, failed)

    def store(self, seconds: float, *, failed: bool) -> None:
        """A store ended."""
        self._count("store", seconds, failed)

    def _count(self, what: str, seconds: float, failed: bool) -> None:
        with self._lock:
            self._totals[f"{what}s"] = self._totals.get(f"{what}s", 0) + 1
            self._totals[f"failed_{what}s"] = self._totals.get(f"failed_{what}s", 0) + failed
            self._seconds.setdefault(f"{what}_seconds", []).append(seconds)

    def take(self) -> dict[str, Any]:
        """Everything since the last call; empty when nothing happened."""
        with self._lock:
            if not self._totals:
                return {}
            taken: dict[str, Any] = {**self._totals, **self._seconds}
            taken["loaded_bytes"], self.loaded_bytes = self.loaded_bytes, 0
            taken["stored_bytes"], self.stored_bytes = self.stored_bytes, 0
            self._totals, self._seconds = {}, {}
        return taken


@dataclass
class KvasirStats(KVConnectorStats):  # type: ignore[misc]
    """Sums and durations of one interval; ``data`` is what travels to vLLM's logger process."""

    data: dict[str, Any] = field(default_factory=dict)

    def reset(self) -> None:
        """Empties it."""
        self.data = {}

    def aggregate(self, other: KVConnectorStats) -> KVConnectorStats:
        """Adds another rank's or step's."""
        merged = dict(self.data)
        for name, value in other.data.items():
            merged[name] = merged[name] + value if name in merged and name != IDENTITY else value
        return KvasirStats(data=merged)

    def reduce(self) -> dict[str, int | float]:
        """For vLLM's log line: sums, and medians of durations in milliseconds."""
        shown: dict[str, int | float] = {name: self.data[name] for name in TOTALS if self.data.get(name)}
        for name in SECONDS:
            values = sorted(self.data.get(name, ()))
            if values:
                shown[f"{name.removesuffix('_seconds')}_p50_ms"] = round(values[len(values) // 2] * 1e3, 3)
        return shown

    def is_empty(self) -> bool:
        """Nothing happened."""
        return not any(self.data.values())


class KvasirPromMetrics(KVConnectorPromMetrics):  # type: ignore[misc]
    """The metrics at vLLM's ``/metrics``."""

    def __init__(
        self,
        vllm_config: Any,
        metric_types: dict[Any, Any],
        labelnames: list[str],
        per_engine_labelvalues: dict[int, list[object]],
    ) -> None:
        super().__init__(vllm_config, metric_types, labelnames, per_engine_labelvalues)
        assert {Counter, Gauge, Histogram} <= metric_types.keys()
        self._totals = {
            name: self._counter_cls(name=f"vllm:kvasir_{name}_total", documentation=text, labelnames=labelnames)
            for name, text in TOTALS.items()
        }
        self._identity = self._gauge_cls(
            name=METRIC,
            documentation="1: what this engine's bytes are filed under, as JSON.",
            labelnames=[*labelnames, IDENTITY],
        )
        self._told: list[str] = []
        self._seconds = {
            name: self._histogram_cls(
                name=f"vllm:kvasir_{name}", documentation=text, buckets=_BUCKETS, labelnames=labelnames
            )
            for name, text in SECONDS.items()
        }

    def observe(self, transfer_stats_data: dict[str, Any], engine_idx: int = 0) -> None:
        """Adds one interval of one engine."""
        labels = self.per_engine_labelvalues[engine_idx]
        for name, value in transfer_stats_data.items():
            if name == IDENTITY:
                self._tell(labels, value)
            elif name in self._totals:
                self._totals[name].labels(*labels).inc(value)
            elif name in self._seconds:
                histogram = self._seconds[name].labels(*labels)
                for seconds in value:
                    histogram.observe(seconds)

    def _tell(self, labels: list[object], identity: str) -> None:
        """One identity at a time: a new generation takes the place of the last one."""
        if self._told and self._told != [identity]:
            self._identity.labels(*labels, self._told.pop()).set(0)
        self._told = [identity]
        self._identity.labels(*labels, identity).set(1)
