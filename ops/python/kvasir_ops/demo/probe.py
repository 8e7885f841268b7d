"""Looks at the node over ``kill -9`` from outside: when it gives hits again, and whether it lost anything."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from kvasir import Client, KvasirError, SlotStatus, Tier

from kvasir_ops.demo.content import Content
from kvasir_ops.demo.engine import NAMESPACE
from kvasir_ops.demo.trace import key_of

RESTART_BOUND_SECONDS = 30.0
_ASK_SECONDS = 0.5
_PAUSE_SECONDS = 0.01
_PEEK_BATCH = 512
_FETCH_SECONDS = 2.0
_CANDIDATES = 16


class Probe:
    """A client of its own that attached before the kill and, like any engine, attaches again by itself."""

    def __init__(self, socket: str, object_bytes: int) -> None:
        self._client = Client.connect(socket, namespace=NAMESPACE, name="demo probe")
        self._content = Content(object_bytes)
        self._page = np.ones((1, object_bytes), dtype=np.uint8)

    def close(self) -> None:
        """Ends the attachment."""
        self._client.close()

    def tiers(self, chunks: Sequence[int]) -> dict[int, Tier]:
        """Where each chunk is, for those that the node has: asked without leasing or fetching."""
        found: dict[int, Tier] = {}
        for first in range(0, len(chunks), _PEEK_BATCH):
            batch = chunks[first : first + _PEEK_BATCH]
            answer = self._client.lookup([key_of(chunk) for chunk in batch], peek=True, sparse=True)
            for chunk, record in zip(batch, answer.slots[:, 0], strict=True):
                on_ssd = record["status"] == SlotStatus.PENDING and record["tier"] == Tier.SSD
                if record["status"] == SlotStatus.HIT or on_ssd:
                    found[chunk] = Tier(int(record["tier"]))
        return found

    def first_hits(self, chunks: Sequence[int], started_at: float) -> dict[str, float]:
        """Seconds from ``started_at`` until the first of ``chunks`` was loaded and right, by the tier that had it.

        Raises:
            KvasirError: the node did not answer within its bound.
        """
        tiers = self._first_answer(chunks, started_at)
        found: dict[str, float] = {}
        for tier in (Tier.DRAM, Tier.SSD):
            candidates = [chunk for chunk in chunks if tiers.get(chunk) == tier]
            for chunk in candidates[-_CANDIDATES:]:
                if self._loads(chunk):
                    found[tier.name.lower()] = time.monotonic() - started_at
                    break
        return found

    def _first_answer(self, chunks: Sequence[int], started_at: float) -> dict[int, Tier]:
        while True:
            try:
                self._client.ping(deadline=_ASK_SECONDS)
                return self.tiers(chunks)
            except KvasirError:
                if time.monotonic() - started_at > RESTART_BOUND_SECONDS:
                    raise
                time.sleep(_PAUSE_SECONDS)

    def _loads(self, chunk: int) -> bool:
        key = key_of(chunk)
        try:
            with self._client.lookup([key], wait=_FETCH_SECONDS) as lease:
                if lease.hit_chunks == 0 or self._client.load(lease, self._page).leading_chunks == 0:
                    return False
        except KvasirError:
            return False
        return self._content.wrong_bytes(key, self._page[0]) == 0
