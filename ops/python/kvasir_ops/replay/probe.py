"""Looks at a node from outside: what it has, when it gives hits after ``kill -9``, and whether it lost anything."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

import numpy as np
from kvasir import Client, KvasirError, Namespace, NodeUnavailableError, Tier

from kvasir_ops.replay.content import Content
from kvasir_ops.replay.engine import NAMESPACE
from kvasir_ops.replay.trace import key_of

# Generous, since they end a wait only on a machine that has no time for a node at all; what is waited for ends it.
RESTART_BOUND_SECONDS = 120.0
JOIN_BOUND_SECONDS = 120.0
# Counted from its first answer. By then both tiers are open; what the node does not have then, it has lost.
WARM_BOUND_SECONDS = 60.0
CALL_SECONDS = 3.0
_ASK_SECONDS = 0.5
_PAUSE_SECONDS = 0.01
_JOIN_PAUSE_SECONDS = 0.05
_PEEK_BATCH = 512
_FETCH_SECONDS = 2.0
_CANDIDATES = 8
_VERIFY_BATCH = 32


class Probe:
    """A client of its own that attached before the kill and, like any engine, attaches again by itself."""

    def __init__(self, socket: str, object_bytes: int) -> None:
        """Attaches, as soon as the node that is starting answers.

        Raises:
            KvasirError: it did not within its bound.
        """
        self._client = connect(socket)
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
            for planned in answer.plan:
                if planned.status in ("HIT", "PENDING"):
                    end = planned.first_chunk + planned.chunks
                    found.update(dict.fromkeys(batch[planned.first_chunk : end], planned.tier))
        return found

    def first_hits(self, chunks: Sequence[int], expected: Collection[Tier], started_at: float) -> dict[str, float]:
        """Seconds from ``started_at`` until the first of ``chunks`` was loaded and right, by the tier that had it.

        Waits for the ``expected`` tiers; one that gives nothing within :data:`WARM_BOUND_SECONDS` is not in the answer.

        Raises:
            KvasirError: the node did not answer within its bound.
        """
        self._wait_for_answer(started_at)
        found: dict[str, float] = {}
        bound = time.monotonic() + WARM_BOUND_SECONDS
        while len(found) < len(expected) and time.monotonic() < bound:
            tiers = self.tiers(chunks)
            for tier in expected:
                name = tier.name.lower()
                candidates = [chunk for chunk in chunks if tiers.get(chunk) == tier]
                if name not in found and any(self._loads(chunk) for chunk in candidates[-_CANDIDATES:]):
                    found[name] = time.monotonic() - started_at
        return found

    def first_load(self, chunks: Sequence[int], began: float) -> float | None:
        """Seconds from ``began`` until one of ``chunks`` was loaded and right; None when that took too long.

        Goes through them a few at a time, again and again: of the chunks of other nodes, only one that begins an entry
        of the directory is found by its key alone.
        """
        first = 0
        while time.monotonic() - began < JOIN_BOUND_SECONDS:
            if any(self._loads(chunk) for chunk in chunks[first : first + _CANDIDATES]):
                return time.monotonic() - began
            first = first + _CANDIDATES if first + _CANDIDATES < len(chunks) else 0
            # Not more often: the questions would take the time from the node that is still joining.
            time.sleep(_JOIN_PAUSE_SECONDS)
        return None

    def held(self, chunks: Sequence[int], is_evicted: Callable[[int], bool]) -> dict[int, Tier]:
        """Where the chunks are, when none is missing that was not evicted, or when the node has had its time."""
        bound = time.monotonic() + WARM_BOUND_SECONDS
        while True:
            tiers = self.tiers(chunks)
            missing = [chunk for chunk in chunks if chunk not in tiers and not is_evicted(chunk)]
            if not missing or time.monotonic() > bound:
                return tiers
            time.sleep(_PAUSE_SECONDS)

    def verified(self, chunks: Sequence[int], bound: float) -> tuple[set[int], int]:
        """Loads the chunks: those that came, and how many bytes of them were wrong.

        Asks again for what did not come, until ``bound`` (``time.monotonic``): a copy that was damaged is a miss once.
        """
        loaded: set[int] = set()
        wrong = 0
        rows = np.ones((_VERIFY_BATCH, self._content.object_bytes), dtype=np.uint8)
        while missing := [chunk for chunk in chunks if chunk not in loaded]:
            for first in range(0, len(missing), _VERIFY_BATCH):
                batch = missing[first : first + _VERIFY_BATCH]
                keys = [key_of(chunk) for chunk in batch]
                try:
                    with self._client.lookup(keys, sparse=True, wait=_FETCH_SECONDS) as lease:
                        came = self._client.load(lease, rows[: len(batch)]).loaded[:, 0]
                except KvasirError:
                    continue
                for place in np.flatnonzero(came):
                    loaded.add(batch[place])
                    wrong += self._content.wrong_bytes(keys[place], rows[place])
            if time.monotonic() > bound:
                break
        return loaded, wrong

    def _wait_for_answer(self, started_at: float) -> None:
        while True:
            try:
                self._client.ping(deadline=_ASK_SECONDS)
                return
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


def connect(
    socket: str, name: str = "replay probe", namespace: Namespace = NAMESPACE, deadline: float = CALL_SECONDS
) -> Client:
    """A client of a node that is starting, as soon as it answers.

    Raises:
        NodeUnavailableError: it did not within :data:`RESTART_BOUND_SECONDS`.
    """
    bound = time.monotonic() + RESTART_BOUND_SECONDS
    while True:
        try:
            return Client.connect(socket, namespace=namespace, name=name, deadline=deadline)
        except NodeUnavailableError:
            if time.monotonic() > bound:
                raise
            time.sleep(_PAUSE_SECONDS)
