"""What a kill test keeps of each object that it did not get back, so that the cause can be told afterwards.

The dead node's files are asked before the next start: what its RocksDB log last said of the object, and whether a slot
header of an extent names it. The new node is asked once the object counts as lost: what a lookup that fetches nothing
answers, and what its counters are since its start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kvasir_bench.extent_headers import keys_in_headers
from kvasir_bench.places_log import last_changes

KEPT = 16
"""Objects of one kill; of more, only how many there are is known."""
ANSWERS_KEPT = 8
"""Of one object: the first ones and the last one."""
COUNTERS = (
    "kvasir_storage_demoted_objects_total",
    "kvasir_storage_promoted_objects_total",
    "kvasir_storage_evicted_clean_total",
    "kvasir_storage_evicted_undemoted_total",
    "kvasir_storage_fetches_without_space_total",
    "kvasir_storage_no_room_total",
    "kvasir_storage_corrupt_total",
    "kvasir_storage_faults_total",
    "kvasir_storage_ssd_evicted_total",
    "kvasir_storage_ssd_dropped_total",
    "kvasir_storage_ssd_read_misses_total",
    "kvasir_storage_ssd_read_errors_total",
    "kvasir_storage_ssd_rejected_total",
)


@dataclass
class Asked:
    """The answers for one object, in order: seconds since the node's start, and what was answered."""

    answers: list[tuple[float, str]] = field(default_factory=list)
    count: int = 0

    def add(self, at: float, answer: str) -> None:
        """One more; beyond the bound it replaces the last one."""
        self.count += 1
        if len(self.answers) == ANSWERS_KEPT:
            self.answers.pop()
        self.answers.append((round(at, 3), answer))


class DeadFiles:
    """What a dead node's files say of objects on its SSD; read before the next node starts."""

    def __init__(self, places: Path, extents: Path) -> None:
        self._changes = last_changes(places)
        self._named = keys_in_headers(extents)

    def removed(self) -> set[bytes]:
        """Keys whose last change, as far as the logs reach back, is a removal."""
        return {key for key, is_removal in self._changes.items() if is_removal}

    def says(self, key: bytes) -> dict[str, Any]:
        """Of one object."""
        change = self._changes.get(key)
        return {
            "log": "not named" if change is None else "removed" if change else "stored",
            "in_extents": key in self._named,
        }


def describe(
    lost: Sequence[bytes],
    sizes: Callable[[bytes], int],
    dead: DeadFiles,
    asked: dict[bytes, Asked],
    peek: Callable[[bytes], str],
) -> list[dict[str, Any]]:
    """For the record of the kill; bounded."""
    return [
        {
            "key": key.hex()[:16],
            "size": sizes(key),
            **dead.says(key),
            "peek": peek(key),
            "asked": asked[key].count if key in asked else 0,
            "answers": asked[key].answers if key in asked else [],
        }
        for key in lost[:KEPT]
    ]


def counters(read: Callable[[str], float | None]) -> dict[str, float]:
    """The node's counters that tell of fetches and demotions; without those that it does not have."""
    found = {name: read(name) for name in COUNTERS}
    return {
        name.removeprefix("kvasir_storage_").removesuffix("_total"): value
        for name, value in found.items()
        if value is not None
    }
