"""Leases that a lookup was given, kept for the loads that the engine orders afterwards."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

from kvasir.identity import KEY_BYTES, Namespace
from kvasir.lease import Lease

#: Leases kept at a time; one more lets the oldest go. What they cover in the node is not evicted meanwhile.
MOST_KEPT: Final = 16


@dataclass(frozen=True)
class _Kept:
    namespace: Namespace
    keys: bytes
    lease: Lease


class LeaseKeeper:
    """Keeps leases, so that a load needs no round trip and finds what the lookup found. Thread-safe.

    A lease counts against the session's quota in the node until it is given back, also after its time. So none is kept
    longer than needed: a thread gives back what a load has finished with, and what no load came for in time.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._kept: deque[_Kept] = deque()
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

    def keep(self, namespace: Namespace, keys: bytes, lease: Lease) -> None:
        """Keeps a lease of the leading chunks of ``keys``."""
        with self._condition:
            self._kept.append(_Kept(namespace, keys[: lease.hit_chunks * KEY_BYTES], lease))
            if len(self._kept) > MOST_KEPT:
                self._done.append(self._kept.popleft().lease)
            # The thread may have nothing to wait for so far.
            if self._done or len(self._kept) == 1:
                self._wake()

    def part(self, namespace: Namespace, keys: bytes) -> Lease | None:
        """The part of a lease that covers these chunks, or as many leading ones as it has; it must not be released."""
        with self._condition:
            for kept in reversed(self._kept):
                at = kept.keys.find(keys[:KEY_BYTES]) if kept.namespace == namespace else -1
                covered = kept.keys[at : at + len(keys)]
                if at >= 0 and at % KEY_BYTES == 0 and keys.startswith(covered) and kept.lease.alive:
                    first = at // KEY_BYTES
                    return kept.lease.part(first, len(covered) // KEY_BYTES)
        return None

    def ending_in(self, namespace: Namespace, keys: bytes) -> list[Lease]:
        """Takes out the leases whose last chunk is among these, for the caller to release: engines load in order."""
        with self._condition:
            ending = [
                kept
                for kept in self._kept
                if kept.namespace == namespace and keys.find(kept.keys[-KEY_BYTES:]) % KEY_BYTES == 0
            ]
            for kept in ending:
                self._kept.remove(kept)
        return [kept.lease for kept in ending]

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
                    while self._kept and not self._kept[0].lease.alive:
                        self._done.append(self._kept.popleft().lease)
                    if not self._done:
                        oldest = self._kept[0].lease.expires_at - time.monotonic() if self._kept else None
                        self._condition.wait(oldest)
                if self._closed:
                    return
                done = list(self._done)
                self._done.clear()
            for lease in done:
                lease.release()
