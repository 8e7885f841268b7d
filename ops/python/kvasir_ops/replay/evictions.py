"""Follows the node's events to know which objects gave way for room: those are gone, and not lost."""

from __future__ import annotations

import threading
import time

from kvasir import Client, Event, KvasirError, Tier

from kvasir_ops.replay.engine import NAMESPACE

_WAIT_SECONDS = 0.5
_DEADLINE_SECONDS = 2.0
_PAUSE_SECONDS = 0.02


class TierMap:
    """Which tiers have each key, by the events so far. A key that was somewhere and is nowhere now was evicted."""

    def __init__(self) -> None:
        self._tiers: dict[bytes, set[Tier]] = {}

    def apply(self, event: Event) -> None:
        """Takes one event in; those of other objects than chunks do no harm. CLEARED is no eviction, but a loss."""
        tiers = self._tiers.setdefault(event.key, set())
        if event.kind == "STORED":
            tiers.add(event.tier)
        elif event.kind == "REMOVED":
            tiers.discard(event.tier)

    def is_evicted(self, key: bytes) -> bool:
        """True when the last event about the key took it from its last tier."""
        return key in self._tiers and not self._tiers[key]


class EvictionWatch:
    """Reads events on a thread and a client of its own, over restarts of the node, until it is closed."""

    def __init__(self, socket: str) -> None:
        self._client = Client.connect(socket, namespace=NAMESPACE, name="replay events")
        self._map = TierMap()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._incarnation = b""
        self._thread = threading.Thread(target=self._follow, name="events", daemon=True)
        self.missed = 0
        self._thread.start()

    def is_evicted(self, key: bytes) -> bool:
        """True when the node said that the object left its last tier."""
        with self._lock:
            return self._map.is_evicted(key)

    def close(self) -> None:
        """Ends the thread and the attachment."""
        self._closing.set()
        self._client.close()
        self._thread.join()

    def _follow(self) -> None:
        after = 0
        while not self._closing.is_set():
            try:
                incarnation = self._client.incarnation
                if incarnation != self._incarnation:
                    self._incarnation, after = incarnation, 0
                batch = self._client.events(after, wait=_WAIT_SECONDS, deadline=_DEADLINE_SECONDS)
            except KvasirError:
                # The node is down, or we are closing; either way there are no events now.
                time.sleep(_PAUSE_SECONDS)
                continue
            with self._lock:
                self.missed += batch.lost
                for event in batch.events:
                    self._map.apply(event)
                    after = event.sequence
