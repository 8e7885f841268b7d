"""Leases that a question for pages was given, kept for the load that SGLang asks for next."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from kvasir import Lease, Namespace
from kvasir.identity import KEY_BYTES

#: How long a lease is kept for its load: SGLang's ranks agree on the hit and its scheduler finds room in between.
HOLD_SECONDS: Final = 5.0
#: Leases kept at a time; one more lets the oldest go. What they hold in the node is not evicted meanwhile.
MAX_HELD: Final = 16


@dataclass(frozen=True)
class _Held:
    namespace: Namespace
    keys: bytes
    lease: Lease


class HeldLeases:
    """So a load needs no round trip, and what was found is still there. Thread-safe.

    Args:
        give_back: releases a lease, soon and without waiting.
    """

    def __init__(self, give_back: Callable[[Lease], None]) -> None:
        self._give_back = give_back
        self._lock = threading.Lock()
        self._held: deque[_Held] = deque()

    def hold(self, namespace: Namespace, keys: bytes, lease: Lease) -> None:
        """Keeps a lease of the leading pages of ``keys``."""
        gone = []
        with self._lock:
            self._held.append(_Held(namespace, keys[: lease.hit_chunks * KEY_BYTES], lease))
            while len(self._held) > MAX_HELD or not self._held[0].lease.alive:
                gone.append(self._held.popleft().lease)
                if not self._held:
                    break
        for each in gone:
            self._give_back(each)

    def part(self, namespace: Namespace, keys: bytes) -> Lease | None:
        """The part of a lease that covers just these pages; it must not be released."""
        with self._lock:
            for held in reversed(self._held):
                at = held.keys.find(keys) if held.namespace == namespace else -1
                if at >= 0 and at % KEY_BYTES == 0 and held.lease.alive:
                    first = at // KEY_BYTES
                    return replace(held.lease, slots=held.lease.slots[first : first + len(keys) // KEY_BYTES])
        return None

    def loaded(self, namespace: Namespace, keys: bytes) -> None:
        """Gives back leases whose last page was loaded with these; SGLang loads in order."""
        with self._lock:
            done = [held for held in self._held if held.keys.endswith(keys) and held.namespace == namespace]
            for held in done:
                self._held.remove(held)
        for held in done:
            self._give_back(held.lease)
