"""An engine stand-in: a process that asks its node for a prompt's prefix, computes the rest, and stores it.

It has no cache of its own. "Computing" is the time that the tokens take at a stated speed, and making the bytes that
follow from the key. Everything else is what an engine does, with the client that engines use.
"""

from __future__ import annotations

import ctypes
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.queues import Queue
from multiprocessing.sharedctypes import Synchronized

import numpy as np
from kvasir import Client, KvasirError, Namespace, SlotStatus, Tier

from kvasir_ops.replay.content import Content
from kvasir_ops.replay.tally import RequestReport
from kvasir_ops.replay.trace import BLOCK_TOKENS, TraceRequest, key_of

NAMESPACE = Namespace(model="kvasir-demo", chunk_tokens=BLOCK_TOKENS, kv_dtype="bytes", layout="demo")

DEADLINE_SECONDS = 3.0
"""How long one call may take in all."""
LATE_SECONDS = 1.0
"""A call that is this long past its deadline counts as one that hung: more than a busy machine explains."""

_PR_SET_PDEATHSIG = 1
# How long a prompt may wait for bytes that are on SSD or at another node.
_WAIT_SECONDS = 1.0
# How often a request that is held back looks whether it may go.
_HELD_BACK_SECONDS = 0.02
# Chunks in one store: as an engine stores while it computes on.
_STORE_BATCH = 32


@dataclass(frozen=True)
class EngineSettings:
    """What one stand-in is told; it goes to its process."""

    number: int
    node: str
    socket: str
    requests: list[TraceRequest]
    object_bytes: int
    compute_tokens_per_s: float


def run_engine(
    settings: EngineSettings, ticket: Synchronized[int], open_until: Synchronized[int], reports: Queue[RequestReport]
) -> None:
    """The process's main: takes the next request off the ticket counter until there is none.

    A request from ``open_until`` on waits until that is raised.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with Client.connect(
        settings.socket, namespace=NAMESPACE, name=f"stand-in {settings.number}", deadline=DEADLINE_SECONDS
    ) as client:
        engine = _Engine(settings, client)
        while True:
            with ticket.get_lock():
                index = ticket.value
                ticket.value += 1
            if index >= len(settings.requests):
                return
            while index >= open_until.value:
                time.sleep(_HELD_BACK_SECONDS)
            reports.put(engine.serve(settings.requests[index]))


@dataclass
class _Work:
    """One request while it is being served."""

    hits: dict[str, int] = field(default_factory=dict)
    stored_by_other: int = 0
    verified_bytes: int = 0
    wrong_bytes: int = 0
    load_seconds: float = 0.0
    tier_seconds: float = 0.0
    store_seconds: float = 0.0
    acknowledged: dict[int, float] = field(default_factory=dict)
    without_tier: bool = False
    unkept: int = 0
    late_calls: int = 0
    longest_call_seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """One call of the client: how long it took, also when it failed."""
        began = time.monotonic()
        try:
            yield
        finally:
            seconds = time.monotonic() - began
            self.tier_seconds += seconds
            self.longest_call_seconds = max(self.longest_call_seconds, seconds)
            self.late_calls += seconds > DEADLINE_SECONDS + LATE_SECONDS


class _Engine:
    """One stand-in. A failing tier is a miss: it says so in the report, and computes."""

    def __init__(self, settings: EngineSettings, client: Client) -> None:
        self._settings = settings
        self._client = client
        self._content = Content(settings.object_bytes)
        self._own: set[int] = set()
        longest = max(len(request.chunk_ids) for request in settings.requests)
        # Touched here: the first touch of memory is slow and no part of a load.
        self._pages = np.ones((longest, settings.object_bytes), dtype=np.uint8)

    def serve(self, request: TraceRequest) -> RequestReport:
        """Serves one request and says what happened."""
        work = _Work()
        loaded = self._load(request, work)
        self._compute_and_store(request, loaded, work)
        return RequestReport(
            engine=self._settings.number,
            node=self._settings.node,
            request=request.index,
            hits=work.hits,
            stored_by_other=work.stored_by_other,
            verified_bytes=work.verified_bytes,
            wrong_bytes=work.wrong_bytes,
            load_seconds=work.load_seconds,
            tier_seconds=work.tier_seconds,
            store_seconds=work.store_seconds,
            acknowledged=work.acknowledged,
            without_tier=work.without_tier,
            unkept=work.unkept,
            late_calls=work.late_calls,
            longest_call_seconds=work.longest_call_seconds,
            problems=tuple(work.problems),
        )

    def _load(self, request: TraceRequest, work: _Work) -> int:
        """Loads the longest prefix that the tier has, checks every byte, and returns how many chunks that was."""
        keys = [key_of(chunk) for chunk in request.chunk_ids]
        try:
            with work.timed():
                lease = self._client.lookup(keys, wait=_WAIT_SECONDS)
            with lease:
                if lease.hit_chunks == 0:
                    return 0
                began = time.monotonic()
                with work.timed():
                    result = self._client.load(lease, self._pages[: lease.hit_chunks])
                work.load_seconds += time.monotonic() - began
        except KvasirError as error:
            self._failed(error, work)
            return 0
        chunks = result.leading_chunks
        work.unkept += lease.hit_chunks - chunks
        for planned in lease.plan:
            count = min(planned.first_chunk + planned.chunks, chunks) - planned.first_chunk
            if count > 0:
                tier = Tier(planned.tier).name.lower()
                work.hits[tier] = work.hits.get(tier, 0) + count
        for place in range(chunks):
            work.wrong_bytes += self._content.wrong_bytes(keys[place], self._pages[place])
            work.stored_by_other += request.chunk_ids[place] not in self._own
        work.verified_bytes = chunks * self._settings.object_bytes
        return chunks

    def _compute_and_store(self, request: TraceRequest, loaded: int, work: _Work) -> None:
        chunk_ids = request.chunk_ids
        for first in range(loaded, len(chunk_ids), _STORE_BATCH):
            batch = chunk_ids[first : first + _STORE_BATCH]
            tokens = request.tokens_of(first + len(batch)) - request.tokens_of(first)
            # This is the prefill that the tokens would cost.
            time.sleep(tokens / self._settings.compute_tokens_per_s)
            for place, chunk in enumerate(batch, first):
                self._content.write(key_of(chunk), self._pages[place])
            began = time.monotonic()
            try:
                with work.timed():
                    stored = self._client.store(
                        [key_of(chunk) for chunk in batch],
                        self._pages[first : first + len(batch)],
                        parents=[
                            key_of(chunk_ids[place - 1]) if place else bytes(32)
                            for place in range(first, first + len(batch))
                        ],
                        chunk_index=first,
                        wait=_WAIT_SECONDS,
                    )
            except KvasirError as error:
                self._failed(error, work)
                continue
            now = time.monotonic()
            work.store_seconds += now - began
            for chunk, status in zip(batch, stored.statuses.ravel(), strict=True):
                if status == SlotStatus.COMMITTED:
                    self._own.add(chunk)
                    work.acknowledged[chunk] = now
                elif status not in (SlotStatus.EXISTS, SlotStatus.IN_FLIGHT):
                    work.problems.append(f"store: {SlotStatus(int(status)).name}")

    @staticmethod
    def _failed(error: KvasirError, work: _Work) -> None:
        work.without_tier = True
        work.problems.append(type(error).__name__)
