"""Leases that a question for pages was given, kept for the load that SGLang asks for next."""

from __future__ import annotations

import threading
import time
from collections import deque
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

    A lease counts against the session's quota in the node until it is given back, also after its time. So none is kept
    longer than needed: a thread gives back what a load has finished with, and what no load came for in time.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._held: deque[_Held] = deque()
        self._done: deque[Lease] = deque()
        self._closed = False
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        """Ends the thread; leases end with their sessions."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        if self._thread is not None:
            self._thread.join()

    def hold(self, namespace: Namespace, keys: bytes, lease: Lease) -> None:
        """Keeps a lease of the leading pages of ``keys``."""
        with self._condition:
            self._held.append(_Held(namespace, keys[: lease.hit_chunks * KEY_BYTES], lease))
            if len(self._held) > MAX_HELD:
                self._done.append(self._held.popleft().lease)
            # The thread may have nothing to wait for so far.
            if self._done or len(self._held) == 1:
                self._wake()

    def part(self, namespace: Namespace, keys: bytes) -> Lease | None:
        """The part of a lease that covers these pages, or as many leading ones as it has; it must not be released."""
        with self._condition:
            for held in reversed(self._held):
                at = held.keys.find(keys[:KEY_BYTES]) if held.namespace == namespace else -1
                covered = held.keys[at : at + len(keys)]
                if at >= 0 and at % KEY_BYTES == 0 and keys.startswith(covered) and held.lease.alive:
                    first = at // KEY_BYTES
                    return replace(held.lease, slots=held.lease.slots[first : first + len(covered) // KEY_BYTES])
        return None

    def ending_in(self, namespace: Namespace, keys: bytes) -> list[Lease]:
        """Takes out the leases whose last page is among these, for the caller to release. SGLang loads in order."""
        with self._condition:
            ending = [
                held
                for held in self._held
                if held.namespace == namespace and keys.find(held.keys[-KEY_BYTES:]) % KEY_BYTES == 0
            ]
            for held in ending:
                self._held.remove(held)
        return [held.lease for held in ending]

    def give_back(self, lease: Lease) -> None:
        """Releases beside the calls: waking the node takes as long as a small load."""
        if lease.id:
            with self._condition:
                self._done.append(lease)
                self._wake()

    def _wake(self) -> None:
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._give_back_all, name="kvasir-release", daemon=True)
            self._thread.start()
        self._condition.notify()

    def _give_back_all(self) -> None:
        while True:
            with self._condition:
                while not self._done and not self._closed:
                    while self._held and not self._held[0].lease.alive:
                        self._done.append(self._held.popleft().lease)
                    if not self._done:
                        oldest = self._held[0].lease.expires_at - time.monotonic() if self._held else None
                        self._condition.wait(oldest)
                if self._closed:
                    return
                done = list(self._done)
                self._done.clear()
            for lease in done:
                lease.release()
