"""A worker's half: copies between the engine's pages and the node's memory, beside the engine's own work.

Called by vLLM's model runner, in its thread; the copies run on threads of this class.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from kvasir import Deadline, KvasirError
from kvasir.engine.breaker import Breaker
from kvasir.engine.log import SeldomLog

from kvasir_vllm.shared.metadata import KvasirMetadata, KvasirWorkerMetadata, LoadOrder, StoreOrder, Ticket
from kvasir_vllm.shared.options import ConnectorOptions
from kvasir_vllm.shared.stats import Counters
from kvasir_vllm.worker.layout import Layout
from kvasir_vllm.worker.session import WorkerSession

_log = logging.getLogger("vllm.kvasir")

#: How long a step without work waits for copies in flight; the engine would only ask again.
_IDLE_WAIT_S = 0.002
_ASKING_WAIT_S = 0.0002


class WorkerSide:
    """Owned by the connector in one worker process.

    Args:
        options: the user's.
        layout: the worker's pages.
        shards: indices of this rank's shards, one for each KV group.
        stores: False for a rank whose bytes another rank stores.
        name: for people.
        copier: copies between GPU and arena; None for pages in this process's memory.
    """

    def __init__(
        self,
        options: ConnectorOptions,
        layout: Layout,
        shards: Sequence[int],
        stores: bool,
        name: str,
        copier: Any = None,
    ) -> None:
        self._options, self._layout, self._shards, self._stores = options, layout, list(shards), stores
        self._copier = copier
        self._session = WorkerSession(options.socket, options.token, name, copier)
        self._loads = ThreadPoolExecutor(options.load_threads, "kvasir-load")
        self._saves = ThreadPoolExecutor(1, "kvasir-store")
        self._breaker = Breaker()
        self._changed = threading.Condition()
        self._in_flight = 0
        self._received: set[str] = set()
        self._failed: set[str] = set()
        self._bad_blocks: set[int] = set()
        self._report = KvasirWorkerMetadata()
        self._ticket: Ticket | None = None
        self._troubles = SeldomLog(_log, math.inf)
        self.counters = Counters()

    # ---- called by the model runner

    def follow(self, ticket: Ticket | None) -> None:
        """Joins the session ahead of the first order that needs it."""
        if ticket is not None and (self._ticket is None or self._ticket.session != ticket.session):
            self._ticket = ticket
            self._saves.submit(self._join, ticket)

    def load(self, orders: Sequence[LoadOrder]) -> None:
        """Begins loads; they are reported when they have ended."""
        if not orders:
            return
        before = self._copier.mark() if self._copier is not None else None
        for order in orders:
            self._begin()
            deadline = Deadline.after(self._options.load_timeout)
            try:
                self._loads.submit(self._load, order, deadline, before)
            except RuntimeError as error:
                self._load_ended(order, 0.0, _all_blocks(order))
                self._troubles.warn("Kvasir: a load could not begin", error)

    def store(self, orders: Sequence[StoreOrder]) -> None:
        """Begins stores of what the forward pass that was just submitted computes."""
        if not orders:
            return
        after = self._copier.mark() if self._copier is not None else None
        for order in orders:
            self._begin()
            self._saves.submit(self._store, order, Deadline.after(self._options.store_timeout), after)

    def wait_a_moment(self, metadata: KvasirMetadata) -> None:
        """In a step that computes nothing: waits for what is in flight, since the engine would ask again at once."""
        if not metadata.idle:
            return
        with self._changed:
            if self._in_flight and not self._received and not self._report.stored:
                self._changed.wait(_IDLE_WAIT_S)
                return
        if metadata.asking:
            time.sleep(_ASKING_WAIT_S)

    def take_received(self) -> tuple[set[str], set[str]]:
        """Requests whose load has ended since the last call; and those of them of which something is missing."""
        with self._changed:
            received, self._received = self._received, set()
            failed, self._failed = self._failed, set()
        return received, failed

    def take_bad_blocks(self) -> set[int]:
        """Blocks of ended loads that do not hold what they should."""
        with self._changed:
            bad, self._bad_blocks = self._bad_blocks, set()
        return bad

    def take_report(self, step: int = 0) -> KvasirWorkerMetadata | None:
        """What the scheduler's half has to know with the output of this step; None when that is nothing."""
        with self._changed:
            if not (self._report.stored or self._report.loads or step):
                return None
            report, self._report = self._report, KvasirWorkerMetadata()
        report.step = step
        return report

    def close(self) -> None:
        """Waits for copies in flight, each of which has a deadline, and leaves the session."""
        self._loads.shutdown(wait=True)
        self._saves.shutdown(wait=True)
        self._session.close()

    # ---- on threads

    def _begin(self) -> None:
        with self._changed:
            self._in_flight += 1

    def _join(self, ticket: Ticket) -> None:
        # Runs after the orders of the sessions before it: what failed there says nothing about this one.
        if self._breaker.succeeded():
            _log.info("Kvasir: a new session with the node: stores again")
        try:
            self._session.client(ticket, Deadline.after(self._options.store_timeout))
        except KvasirError as error:
            self._troubles.warn("Kvasir: this worker cannot join the engine's session with the node", error)

    def _load(self, order: LoadOrder, deadline: Deadline, before: Any) -> None:
        began = time.monotonic()
        bad: set[int] = set()
        try:
            bad = self._load_now(order, deadline, before)
        except Exception as error:
            bad = _all_blocks(order)
            self._troubles.warn("Kvasir: a load failed; its tokens are computed", error)
        finally:
            self._load_ended(order, time.monotonic() - began, bad)

    def _load_ended(self, order: LoadOrder, seconds: float, bad: set[int]) -> None:
        self.counters.load(seconds, failed=bool(bad))
        with self._changed:
            self._in_flight -= 1
            self._received.add(order.request)
            self._report.loads[order.request] += 1
            if bad:
                self._failed.add(order.request)
                self._report.failed_loads.add(order.request)
                self._bad_blocks |= bad
            self._changed.notify_all()

    def _load_now(self, order: LoadOrder, deadline: Deadline, before: Any) -> set[int]:
        """Blocks that did not get their bytes."""
        client = self._session.client(order.ticket, deadline)
        lease = client.resolve(order.lease, self._shards, deadline=deadline)
        pieces = self._layout.load_pieces(order.first_chunk, order.begin, order.blocks)
        rows = lease.slots.shape[0] * lease.slots.shape[1]
        if self._copier is not None:
            self._copier.after(before)
        result = client.load(lease, pieces.first(rows), verify=self._options.verify, deadline=deadline)
        self.counters.loaded_bytes += result.bytes
        loaded = result.loaded
        bad: set[int] = set()
        for column, table in enumerate(order.blocks):
            tokens = self._layout.chunking.blocks[column]
            for index, block in enumerate(table):
                chunk = (order.begin + index * tokens) // self._layout.chunking.chunk - order.first_chunk
                if block and not (chunk < len(loaded) and loaded[chunk, column]):
                    bad.add(block)
        if bad:
            self._troubles.warn(
                "Kvasir: leased chunks could not be loaded; their tokens are computed", f"{len(bad)} blocks"
            )
        else:
            self._troubles.clear()
        return bad

    def _store(self, order: StoreOrder, deadline: Deadline, after: Any) -> None:
        began = time.monotonic()
        complete, tried = False, False
        try:
            if not self._stores:
                complete = True
            elif self._breaker.allow():
                tried = True
                complete = self._store_now(order, deadline, after)
                self._breaker.succeeded()
        except Exception as error:
            if self._breaker.failed():
                self._troubles.warn("Kvasir: stores fail; nothing is stored until the node answers again", error)
        finally:
            if tried:
                self.counters.store(time.monotonic() - began, failed=not complete)
            with self._changed:
                self._in_flight -= 1
                self._report.stored[order.job] += 1
                if not complete:
                    self._report.refused.add(order.job)
                self._changed.notify_all()

    def _store_now(self, order: StoreOrder, deadline: Deadline, after: Any) -> bool:
        """Whether everything of the order is in the tier now."""
        client = self._session.client(order.ticket, deadline)
        namespace = order.ticket.opened(order.lora)
        keys = np.frombuffer(order.keys, dtype="V32")
        parents = np.frombuffer(order.parents, dtype="V32")
        complete = True
        for group, table in enumerate(order.blocks):
            pieces, whole = self._layout.store_pieces(group, table, len(keys))
            if not whole.any():
                continue
            if self._copier is not None:
                self._copier.after(after)
            all_of_them = bool(whole.all())
            result = client.store(
                order.keys if all_of_them else keys[whole].tobytes(),
                pieces,
                shard=self._shards[group],
                namespace=namespace,
                parents=order.parents if all_of_them else parents[whole].tobytes(),
                chunk_index=order.first_chunk if all_of_them else None,
                # A tail is of use once, and soon: it is the first to be evicted.
                priority=-1 if order.tail_seconds else 0,
                ttl=order.tail_seconds,
                # An eviction takes a moment, but a node that grows allocates a region first, all of it.
                wait=self._options.store_timeout / 2,
                deadline=deadline,
            )
            self.counters.stored_bytes += int(result.committed) * (int(pieces.length.sum()) // int(whole.sum()))
            complete = complete and bool(result.present.all())
        return complete


def _all_blocks(order: LoadOrder) -> set[int]:
    return {block for table in order.blocks for block in table if block}
