"""Follows the node's events for the kill test: what was reported durable on SSD, and what left DRAM."""

from __future__ import annotations

import threading
from collections.abc import Container

from kvasir import Client, KvasirError, Tier

from kvasir_bench.node import NAMESPACE

WAIT_S = 0.1
BATCH = 4096


class EventWatch:
    """A thread with a client of its own, which keeps what was reported stored and removed."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._lock = threading.Lock()
        self._durable: dict[bytes, None] = {}
        self._left_dram: set[bytes] = set()
        self._came_to_dram: set[bytes] = set()
        self._removed: set[bytes] = set()
        self._gaps = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bench-events", daemon=True)
        self._thread.start()

    def durable(self) -> list[bytes]:
        """Keys that are durable by the last event that was seen, in the order in which they became so."""
        with self._lock:
            return list(self._durable)

    def forget_durable(self, keys: set[bytes]) -> None:
        """These left the SSD and nobody was told: they are not expected at a later kill."""
        with self._lock:
            for key in keys:
                self._durable.pop(key, None)

    def forget_others(self, keys: Container[bytes]) -> None:
        """Keeps of what was in DRAM only these: nothing else is asked for again."""
        with self._lock:
            self._left_dram = {key for key in self._left_dram if key in keys}
            self._came_to_dram = {key for key in self._came_to_dram if key in keys}

    def left_dram(self) -> set[bytes]:
        """Keys that were reported removed from DRAM and not stored there again."""
        with self._lock:
            return set(self._left_dram)

    def came_to_dram(self) -> set[bytes]:
        """Keys that were ever reported stored in DRAM."""
        with self._lock:
            return set(self._came_to_dram)

    def forget_removed(self) -> None:
        """Begins :meth:`removed` anew."""
        with self._lock:
            self._removed.clear()

    def removed(self) -> set[bytes]:
        """Keys that were reported removed from a tier since :meth:`forget_removed`: evicted, or dropped as damaged."""
        with self._lock:
            return set(self._removed)

    @property
    def gaps(self) -> int:
        """Events that the node no longer had when this asked; after one, nothing older counts as durable."""
        with self._lock:
            return self._gaps

    def close(self) -> None:
        """Ends the thread."""
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        client: Client | None = None
        incarnation = b""
        after = 0
        while not self._end.is_set():
            try:
                if client is None:
                    client = Client.connect(self._socket, namespace=NAMESPACE, name="bench events", attach_deadline=1.0)
                if client.incarnation != incarnation:
                    incarnation, after = client.incarnation, 0
                batch = client.events(after, limit=BATCH, wait=WAIT_S, deadline=2.0)
            except KvasirError:
                self._end.wait(0.02)
                continue
            with self._lock:
                if batch.lost:
                    self._gaps += batch.lost
                    self._durable.clear()
                for event in batch.events:
                    after = event.sequence
                    self._take(event.kind, event.tier, event.key)
        if client is not None:
            client.close()

    def _take(self, kind: str, tier: Tier, key: bytes) -> None:
        if kind == "CLEARED":
            # No excuse: what was durable has to be there after a restart.
            return
        if kind == "REMOVED":
            self._removed.add(key)
        if tier == Tier.SSD:
            self._durable.pop(key, None)
            if kind == "STORED":
                self._durable[key] = None
        elif tier == Tier.DRAM and kind == "STORED":
            self._left_dram.discard(key)
            self._came_to_dram.add(key)
        elif tier == Tier.DRAM:
            self._left_dram.add(key)
