"""Asks for pages, loads and stores them: one rank's calls to the node, which end in time and never raise.

Every call has a deadline from the options. When it is over, nothing copies any more: the client stops between slices
and returns, and only then are pages reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
from kvasir import (
    Deadline,
    DeadlineExceededError,
    KvasirError,
    Lease,
    Namespace,
    NodeUnavailableError,
    Pieces,
    SlotStatus,
)
from kvasir.engine.breaker import Breaker
from kvasir.engine.leases import LeaseKeeper
from kvasir.engine.log import SeldomLog
from kvasir.identity import KEY_BYTES

from kvasir_sglang.shared.connection import Connection, LoadGate
from kvasir_sglang.shared.metrics import BYTES, CALLS, PAGES, SECONDS, Throughput, logger
from kvasir_sglang.shared.options import EngineOptions
from kvasir_sglang.shared.pages import Bools, Destination, PageError

Answer = TypeVar("Answer")

#: A backup goes in slices of this many bytes, between which it yields to loads.
STORE_SLICE_BYTES: Final = 32 << 20
#: Share of a load's deadline for which the node may hold the answer while pages come from a slower tier.
WAIT_SHARE: Final = 0.5
#: How long a lease is kept for its load: SGLang's ranks agree on the hit, and its scheduler allocates, in between.
HOLD_SECONDS: Final = 5.0
#: How long a reserve may wait in the node for free space.
_SPACE_SECONDS: Final = 0.5

#: A node that is paused costs a few deadlines and then none, where SGLang asks for one request after the other.
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 2.0

_STATUS_NAMES: Final = {int(status): status.name.lower() for status in SlotStatus}


@dataclass(frozen=True)
class PoolPlace:
    """Where a pool's pages are: the session that holds them, and their namespace."""

    connection: Connection
    namespace: Namespace
    page_bytes: int


class Transfer:
    """Thread-safe; SGLang calls from several threads."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._breaker = Breaker(first_pause=FIRST_PAUSE_S, longest_pause=LONGEST_PAUSE_S)
        self._gate = LoadGate(options.yield_ms / 1000)
        self._log = SeldomLog(logger)
        self._leases = LeaseKeeper()
        self.loads = Throughput()
        self.stores = Throughput()

    def close(self) -> None:
        """Ends its thread; leases end with their sessions."""
        self._leases.close()

    def bounded(
        self, call: str, deadline_ms: int, work: Callable[[Deadline], Answer], nothing: Answer, *, leased: bool = False
    ) -> Answer:
        """Runs ``work``; ``nothing`` when it fails for whatever reason, which is counted and seldom logged.

        Args:
            call: for the metrics.
            deadline_ms: that ``work`` is given.
            work: what to do.
            nothing: the answer without one.
            leased: it needs no answer from the node, so that it is tried while the node is silent, too.
        """
        begin = time.monotonic()
        deadline = Deadline(begin + deadline_ms / 1000)
        outcome, answer = "ok", nothing
        if not leased and not self._breaker.allow():
            CALLS.labels(call, "circuit_open").inc()
            return nothing
        try:
            answer = work(deadline)
            self._breaker.succeeded()
        except PageError as error:
            outcome = "bad_pages"
            self._log.warn(f"{call} was refused", error)
        except (NodeUnavailableError, DeadlineExceededError) as error:
            outcome = error.code.lower()
            # What fails at once costs nothing, and the client tries to attach again beside the calls.
            if deadline.remaining() <= 0:
                self._breaker.failed()
            self._log.warn(f"{call} is a miss", error, kind=f"{call} {outcome}")
        except KvasirError as error:
            outcome = error.code.lower()
            self._log.warn(f"{call} is a miss", error, kind=f"{call} {outcome}")
        except Exception:  # an exception would end SGLang's thread without a word
            outcome = "internal"
            self._log.warn(f"{call} is a miss because of an error inside", trace=True)
        CALLS.labels(call, outcome).inc()
        SECONDS.labels(call).observe(time.monotonic() - begin)
        return answer

    # ---- asking

    def leading(self, place: PoolPlace, keys: bytes, deadline: Deadline) -> int:
        """How many leading pages are in some tier; one round trip.

        What is in DRAM is leased for the load that follows, and the node starts to fetch what is in a slower tier.
        """
        # Asked again, or longer: the same pages would count twice against the session's quota.
        for lease in self._leases.ending_in(place.namespace, keys):
            lease.release()
        lease = place.connection.client.lookup(
            keys, namespace=place.namespace, lease_seconds=HOLD_SECONDS, deadline=deadline
        )
        if lease.id:
            self._leases.keep(place.namespace, keys, lease)
        return lease.hit_chunks + lease.pending_chunks

    def each(self, place: PoolPlace, keys: bytes, deadline: Deadline) -> Bools:
        """Which pages are in some tier, each looked at on its own; fetches of slower tiers start."""
        lease = self.lease(place, keys, deadline, sparse=True)
        status = lease.slots["status"].reshape(-1)
        self.give_back(lease)
        there: Bools = (status != SlotStatus.MISS) & (status != SlotStatus.UNSPECIFIED)
        return there

    def lease(
        self,
        place: PoolPlace,
        keys: bytes,
        deadline: Deadline,
        *,
        sparse: bool,
        seconds: float = 0.0,
        wait: float = 0.0,
    ) -> Lease:
        """Leases what is in DRAM of the leading pages, or with ``sparse`` of each on its own; for :meth:`give_back`.

        Raises:
            PageError: a page has another size than those of this pool.
        """
        found = place.connection.client.lookup(
            keys, namespace=place.namespace, lease_seconds=seconds, wait=wait, sparse=sparse, deadline=deadline
        )
        try:
            self._usable(found, place.page_bytes)
        except PageError:
            self.give_back(found)
            raise
        return found

    def give_back(self, lease: Lease) -> None:
        """Releases a lease beside the calls."""
        self._leases.give_back(lease)

    def loads_first(self) -> AbstractContextManager[None]:
        """Around copies that backups have to wait for."""
        return self._gate.load()

    def count_loaded(self, call: str, place: PoolPlace, arrived: int, missed: int, seconds: float) -> None:
        """Says in the metrics what one batch loaded."""
        PAGES.labels(call, "loaded").inc(arrived)
        PAGES.labels(call, "missed").inc(missed)
        BYTES.labels("load").inc(arrived * place.page_bytes)
        self.loads.add(arrived, arrived * place.page_bytes, seconds)

    # ---- loading

    def load(
        self, call: str, place: PoolPlace, keys: bytes, to: Destination, deadline: Deadline, *, sparse: bool = False
    ) -> Bools:
        """Which pages arrived: the leading ones, or with ``sparse`` each on its own."""
        begin = time.monotonic()
        count = len(keys) // KEY_BYTES
        with self._gate.load():
            loaded = np.zeros(count, dtype=bool)
            first = self._load_leased(place, keys, to.pieces, loaded, deadline)
            if first < count:
                rest = _without_first(to.pieces, first)
                loaded[first:] = self._look_and_load(place, keys[first * KEY_BYTES :], rest, deadline, sparse)
            loaded = to.finish(loaded, deadline)
        arrived = int(loaded.sum())
        self.count_loaded(call, place, arrived, count - arrived, time.monotonic() - begin)
        return loaded

    def _load_leased(self, place: PoolPlace, keys: bytes, pieces: Pieces, loaded: Bools, deadline: Deadline) -> int:
        """Under the lease of the question before, as far as that reaches; how many leading pages there are now."""
        lease = self._leases.part(place.namespace, keys)
        if lease is not None:
            arrived = self._copy(place, lease, pieces, deadline)
            loaded[: len(arrived)] = arrived
        first = len(loaded) if loaded.all() else int(loaded.argmin())
        for done in self._leases.ending_in(place.namespace, keys):
            if first == len(loaded):
                self._leases.give_back(done)
            else:
                # Now: what it holds counts against the quota of the lease for the rest.
                done.release()
        return first

    def _look_and_load(self, place: PoolPlace, keys: bytes, pieces: Pieces, deadline: Deadline, sparse: bool) -> Bools:
        loaded = np.zeros(len(keys) // KEY_BYTES, dtype=bool)
        wait = deadline.remaining() * WAIT_SHARE
        lease = place.connection.client.lookup(
            keys, namespace=place.namespace, wait=wait, sparse=sparse, deadline=deadline
        )
        try:
            arrived = self._copy(place, lease, pieces, deadline)
            loaded[: len(arrived)] = arrived
        finally:
            self._leases.give_back(lease)
        return loaded

    def _copy(self, place: PoolPlace, lease: Lease, pieces: Pieces, deadline: Deadline) -> Bools:
        if not self._usable(lease, place.page_bytes):
            return np.zeros(0, dtype=bool)
        here = pieces.first(lease.slots.size)
        result = place.connection.client.load(lease, here, verify=self._options.verify, deadline=deadline)
        arrived: Bools = result.loaded.reshape(-1)
        return arrived

    @staticmethod
    def _usable(lease: Lease, page_bytes: int) -> bool:
        """Whether there are hits. The namespace holds the page's size, so that another one is an error."""
        slots = lease.slots.reshape(-1)
        hits = slots["status"] == SlotStatus.HIT
        wrong = hits & (slots["length"] != page_bytes)
        if wrong.any():
            seen = int(slots["length"][int(np.flatnonzero(wrong)[0])])
            raise PageError(f"an object has {seen} bytes; a page of this pool has {page_bytes}")
        return bool(hits.any())

    # ---- storing

    def store(
        self, call: str, place: PoolPlace, keys: bytes, sources: Callable[[int, int], tuple[Any, Any]], parent: bytes,
        stored: Bools, deadline: Deadline,
    ) -> Bools:  # fmt: skip
        """Stores pages in slices, and lets loads go between them.

        Args:
            call: for the metrics.
            place: the pool's.
            keys: n x 32 bytes.
            sources: the pieces of pages ``first`` to ``end``, and what keeps them alive.
            parent: the key of the page before the first; 32 zero bytes when it is the first of its chain or unknown.
            stored: where each page's outcome goes as soon as it is known, so that a late failure keeps the earlier
                ones.
            deadline: of all slices together.
        """
        count = len(keys) // KEY_BYTES
        step = max(1, STORE_SLICE_BYTES // max(place.page_bytes, 1))
        parents = (parent + keys)[: len(keys)]
        for first in range(0, count, step):
            end = min(first + step, count)
            begin = time.monotonic()
            self._gate.yield_to_loads(deadline)
            pieces, alive = sources(first, end)
            part = slice(first * KEY_BYTES, end * KEY_BYTES)
            result = place.connection.client.store(
                keys[part],
                pieces,
                namespace=place.namespace,
                parents=parents[part],
                wait=min(_SPACE_SECONDS, max(deadline.remaining() * WAIT_SHARE, 0)),
                deadline=deadline,
            )
            del alive
            stored[first:end] = result.present
            self._count_stored(call, place, result.statuses, time.monotonic() - begin)
        return stored

    def _count_stored(self, call: str, place: PoolPlace, statuses: npt.NDArray[np.uint8], seconds: float) -> None:
        for status, number in zip(*np.unique(statuses, return_counts=True), strict=True):
            PAGES.labels(call, _STATUS_NAMES.get(int(status), str(status))).inc(int(number))
        committed = int((statuses == SlotStatus.COMMITTED).sum())
        BYTES.labels("store").inc(committed * place.page_bytes)
        self.stores.add(committed, committed * place.page_bytes, seconds)


def _without_first(pieces: Pieces, objects: int) -> Pieces:
    """Those of the objects from ``objects`` on, counted from there."""
    if not objects:
        return pieces
    rest = pieces.those(pieces.object >= objects)
    return Pieces(rest.object - objects, rest.offset, rest.address, rest.length)
