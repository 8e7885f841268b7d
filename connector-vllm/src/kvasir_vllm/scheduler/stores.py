"""Which chunks a step stores, and the blocks that stores in flight pin. Called by vLLM's scheduler, in its thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kvasir_vllm.scheduler.computed import Chunks, ComputedChunks, first_run
from kvasir_vllm.scheduler.events import StoredEvents
from kvasir_vllm.scheduler.handoff import Tail
from kvasir_vllm.scheduler.tracked import Tracked
from kvasir_vllm.shared import compat
from kvasir_vllm.shared.chunks import KEY_BYTES, Chunking
from kvasir_vllm.shared.metadata import BlockTable, StoreOrder, Ticket
from kvasir_vllm.shared.options import ConnectorOptions


@dataclass
class _Job:
    """A store in flight: its blocks, how many ranks have not reported it, and what they store in which session."""

    pinned: list[Any]
    remaining: int
    chunks: Chunks
    session: int
    refused: bool = False


class Stores:
    """Owned by the scheduler's half.

    Args:
        options: the user's.
        chunking: sizes of the engine.
        events: collects what vLLM publishes; None when it does not.
        max_pinned: blocks that stores may pin.
        ranks: workers that report each job.
    """

    def __init__(
        self, options: ConnectorOptions, chunking: Chunking, events: StoredEvents | None, max_pinned: int, ranks: int
    ) -> None:
        self._options = options
        self._chunking = chunking
        self._events = events
        self._max_pinned = max_pinned
        self._ranks = ranks
        self._pool: Any = None
        self._jobs: dict[int, _Job] = {}
        self._next_job = 1
        self._chunks = ComputedChunks()
        self.pinned = 0
        self.left_out = 0

    def bind(self, pool: Any) -> None:
        """vLLM's block pool, for pins."""
        self._pool = pool

    @property
    def in_flight(self) -> int:
        """Stores that some rank has not reported."""
        return len(self._jobs)

    # ---- orders

    def order(self, step: Any, requests: Mapping[str, Tracked], ticket: Ticket | None) -> list[StoreOrder]:
        """What can be stored once this step has run.

        Args:
            step: vLLM's ``SchedulerOutput``, while it is being built.
            requests: all that are tracked, by id.
            ticket: of the session; None without one.
        """
        orders: list[StoreOrder] = []
        if self._pool is None:
            return orders
        for name, scheduled in step.num_scheduled_tokens.items():
            tracked = requests.get(name)
            if tracked is None or tracked.stale:
                continue
            if not compat.TABLES_ON_DEMAND:
                tracked.table = compat.block_table(step, name) or tracked.table
            self._begin(tracked)
            if not tracked.adapter.known:
                continue  # whose KV it is can still come out, while the request has its blocks
            computed = min(tracked.request.num_computed_tokens + scheduled, tracked.request.num_tokens)
            end = self._computed(tracked, computed)
            if ticket is None:
                continue
            orders += self._missing(tracked, end, step, ticket)
            orders += self._complete(tracked, end, step, ticket)
            if tracked.gives_to and tracked.tail is not None and computed >= tracked.tail.end:
                tail = self._tail_of(tracked, tracked.tail, step, ticket)
                orders += [tail] if tail is not None else []
        return orders

    def _begin(self, tracked: Tracked) -> None:
        """Before the request's first step."""
        if tracked.next_chunk < 0:
            # What was there before this request computed anything is stored by whoever computed it, or found missing;
            # but what is handed off has to be in the node, too.
            tracked.computed_chunks = tracked.request.num_computed_tokens // self._chunking.chunk
            tracked.next_chunk = 0 if tracked.gives_to else tracked.computed_chunks

    def _computed(self, tracked: Tracked, computed: int) -> int:
        """Notes what is complete once this step has run; the chunk after the last that may be stored then."""
        request, chunking = tracked.request, self._chunking
        end = min(computed // chunking.chunk, chunking.whole_chunks(request.block_hashes))
        if not self._options.store_generated:
            end = min(end, request.num_prompt_tokens // chunking.chunk)
        if end > tracked.computed_chunks:
            self._chunks.computed(self._named(tracked, tracked.computed_chunks, end))
            tracked.computed_chunks = end
        return end

    def _missing(self, tracked: Tracked, end: int, step: Any, ticket: Ticket) -> list[StoreOrder]:
        """Chunks that the engine has and that the node was not given in this session; looked for once a session."""
        if tracked.session != ticket.session:
            tracked.session = ticket.session
            tracked.missing = self._chunks.missing(self._named(tracked, 0, tracked.next_chunk), ticket.session)
        orders = []
        while tracked.missing and tracked.missing[0] < end:
            # A preempted request does not have all of its chunks again yet.
            run = first_run([index for index in tracked.missing if index < end])
            first = tracked.missing[0]
            order = self._store_of(tracked, first, first + run, step, ticket)
            if order is None:
                break
            stored = len(order.keys) // KEY_BYTES
            del tracked.missing[:stored]
            orders.append(order)
            if stored < run:
                break
        return orders

    def _complete(self, tracked: Tracked, end: int, step: Any, ticket: Ticket) -> list[StoreOrder]:
        """Chunks of this request that are complete once this step has run."""
        if end <= tracked.next_chunk:
            return []
        order = self._store_of(tracked, tracked.next_chunk, end, step, ticket)
        if order is None:
            return []
        tracked.next_chunk += len(order.keys) // KEY_BYTES
        return [order]

    def _store_of(self, tracked: Tracked, first: int, end: int, step: Any, ticket: Ticket) -> StoreOrder | None:
        """A store of these chunks, or of as many from the first on as may be pinned; None when that is none.

        The rest is tried again at the next step, as long as the request has its blocks, and then at its next use.
        """
        request, chunking = tracked.request, self._chunking
        blocks = self._blocks(tracked, step, first * chunking.chunk, end * chunking.chunk)
        if blocks is None:
            return None
        if not tracked.gives_to:
            fitting = self._fitting(blocks, end - first)
            if fitting < end - first:
                self.left_out += 1
                end = first + fitting
                blocks = tuple(ids[: fitting * chunking.blocks_in_chunk(group)] for group, ids in enumerate(blocks))
            if not fitting:
                return None
        chunks = self._named(tracked, first, end)
        self._chunks.given(chunks, ticket.session)
        job = self._pin(blocks, chunks, ticket)
        if self._events is not None:
            self._events.ordered(job, request, first, end, chunking)
        parents = chunking.parents(request.block_hashes, first, end)
        return StoreOrder(job, chunks.keys, parents, first, blocks, tracked.lora, ticket)

    def _fitting(self, blocks: BlockTable, chunks: int) -> int:
        """How many of these chunks, from the first on, may be pinned now. One that is larger than all that may be
        pinned is, when nothing else is: it would be left out for ever."""
        free = self._max_pinned - self.pinned
        sizes = [self._chunking.blocks_in_chunk(group) for group in range(len(blocks))]
        for count in range(chunks):
            free -= sum(
                1 for ids, size in zip(blocks, sizes, strict=True) for block in ids[count * size :][:size] if block
            )
            if free < 0:
                return max(count, 0 if self.pinned else 1)
        return chunks

    def _tail_of(self, tracked: Tracked, tail: Tail, step: Any, ticket: Ticket) -> StoreOrder | None:
        """The prompt's tail, which is complete once this step has run: pinned before its request can lose it."""
        tracked.tail = None
        blocks = self._blocks(tracked, step, tail.begin, tail.end)
        if blocks is None:
            return None
        chunk = tail.begin // self._chunking.chunk
        parent = self._chunking.keys(tracked.request.block_hashes, chunk - 1, chunk) if chunk else bytes(KEY_BYTES)
        job = self._pin(blocks, Chunks(tracked.lora, b""), ticket)
        kept = self._options.handoff_seconds
        return StoreOrder(job, tail.key, parent, chunk, blocks, tracked.lora, ticket, kept)

    def _blocks(self, tracked: Tracked, step: Any, begin: int, end: int) -> BlockTable | None:
        """The blocks of these tokens; None when the request does not have all of them."""
        table = compat.block_table(step, tracked.request.request_id) if compat.TABLES_ON_DEMAND else tracked.table
        if not table:
            return None
        spans = [slice(begin // size, -(-end // size)) for size in self._chunking.blocks]
        blocks = tuple(list(ids[span]) for ids, span in zip(table, spans, strict=True))
        whole = all(len(ids) == span.stop - span.start for ids, span in zip(blocks, spans, strict=True))
        return blocks if whole else None

    def _pin(self, blocks: BlockTable, chunks: Chunks, ticket: Ticket) -> int:
        """Keeps the blocks until every rank has reported the job whose number this returns."""
        job, self._next_job = self._next_job, self._next_job + 1
        pinned = [self._pool.blocks[block] for ids in blocks for block in ids if block]
        self._pool.touch(pinned)
        self._jobs[job] = _Job(pinned, self._ranks, chunks, ticket.session)
        self.pinned += len(pinned)
        return job

    def _named(self, tracked: Tracked, first: int, end: int) -> Chunks:
        return Chunks(tracked.lora, self._chunking.keys(tracked.request.block_hashes, first, end))

    # ---- what came of it

    def reported(self, job: int, ranks: int, refused: bool) -> None:
        """So many more ranks are done with a job; ``refused`` when one of them did not store everything."""
        state = self._jobs.get(job)
        if state is None:
            return
        if refused and not state.refused:
            state.refused = True
            self._chunks.refused(state.chunks, state.session)
            if self._events is not None:
                self._events.refused(job)
        state.remaining -= ranks
        if state.remaining > 0:
            return
        del self._jobs[job]
        self.pinned -= len(state.pinned)
        self._pool.free_blocks(reversed(state.pinned))
        if self._events is not None:
            self._events.stored(job)

    def loaded(self, tracked: Tracked, session: int) -> None:
        """All that the request's lookup found has been loaded: this engine has it now, and the node as well."""
        lookup = tracked.lookup
        if lookup is not None and not tracked.stale:
            self._chunks.given(Chunks(tracked.lora, lookup.keys[: lookup.hits * KEY_BYTES]), session)

    def forget(self, requests: Mapping[str, Tracked]) -> None:
        """Bytes are filed under another identity: what was computed before it is not stored any more."""
        self._chunks.forget()
        for tracked in requests.values():
            if tracked.loading or tracked.request.num_computed_tokens > 0:
                tracked.stale = True
