"""The scheduler's half: which tokens can be loaded, what is to be stored, and what is held meanwhile.

Called by vLLM's scheduler, in its thread. Nothing here waits: the node is asked by :mod:`kvasir_vllm.lookups`.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

from kvasir import Namespace

from kvasir_vllm import compat
from kvasir_vllm.breaker import Breaker
from kvasir_vllm.chunks import KEY_BYTES, Chunking
from kvasir_vllm.events import StoredEvents
from kvasir_vllm.handoff import Handoff, Tail
from kvasir_vllm.lookups import Lookup, LookupService, namespace_fields
from kvasir_vllm.metadata import BlockTable, KvasirMetadata, KvasirWorkerMetadata, LoadOrder, StoreOrder, Ticket
from kvasir_vllm.options import Options
from kvasir_vllm.prefill import PrefillSpeed

_log = logging.getLogger("vllm.kvasir")

#: While the engine starts: with a node that lives, the first prompt is stored already.
_START_PATIENCE_S = 5.0
#: Beyond a lookup's own time, for the thread to run at all.
_GRACE_S = 0.25


@dataclass(eq=False)
class _Tracked:
    """One request that vLLM has told of and not ended.

    Attributes:
        gives_to: the node whose engine this request is computed for; empty for nearly all.
        takes: another engine computes the prompt for this one.
        tail: the prompt's, until it is ordered or taken.
    """

    request: Any
    lora: str
    gives_to: str = ""
    takes: bool = False
    tail: Tail | None = None
    lookup: Lookup | None = None
    asked_at: float = 0.0
    begin: int = 0
    loading: bool = False
    no_more_loads: bool = False
    next_chunk: int = -1
    table: BlockTable = ()


class SchedulerSide:
    """Owned by the connector in the engine's scheduler process.

    Args:
        options: the user's.
        chunking: sizes of the engine.
        lookups: asks the node; started by :meth:`begin`.
        events: collects what vLLM publishes; None when it does not.
        max_pinned: blocks that stores may pin.
        ranks: workers that report each job.
        tails: whether what lies behind a prompt's last chunk can be handed off; not where a KV group needs only the
            chunks at the end of a prefix, since a tail is not a whole one.
    """

    def __init__(
        self,
        options: Options,
        chunking: Chunking,
        lookups: LookupService,
        events: StoredEvents | None,
        max_pinned: int,
        ranks: int,
        tails: bool = True,
    ) -> None:
        self._options = options
        self._chunking = chunking
        self._lookups = lookups
        self._events = events
        self._max_pinned = max_pinned
        self._ranks = ranks
        self._tails = tails
        self._pool: Any = None
        self._namespace: Namespace | None = None
        self._tracked: dict[str, _Tracked] = {}
        self._loads: list[LoadOrder] = []
        self._pins: dict[int, list[Any]] = {}
        self._remaining: dict[int, int] = {}
        self._pinned = 0
        self._next_job = 1
        self._waiting_tokens = 0
        self._load_breaker = Breaker()
        self._speed = PrefillSpeed()
        self._ticket: Ticket | None = None
        self.loaded_tokens = 0
        self.offered_tokens = 0
        self.stores_left_out = 0
        self.failed_loads = 0

    def begin(self, namespace: Namespace) -> None:
        """The workers have told their layout: from now on there is something to ask for."""
        self._namespace = namespace
        self._lookups.start(namespace, _START_PATIENCE_S)

    def bind(self, pool: Any) -> None:
        """vLLM's block pool, for pins and for what the GPU holds."""
        self._pool = pool

    def close(self) -> None:
        """Ends the session."""
        self._lookups.close()

    # ---- what can be loaded

    def on_new_request(self, request: Any) -> None:
        """Asks ahead, so that the answer is there when the request's turn comes."""
        tracked = self._track(request)
        if tracked.gives_to:
            self._hand_off(tracked)
        if not self._may_load(tracked):
            return
        first = self._chunks_in_engine(request)
        if self._end(tracked, first):
            self._ask(tracked, first, first * self._chunking.chunk)

    def _track(self, request: Any) -> _Tracked:
        tracked = self._tracked[request.request_id] = _Tracked(request, _lora_of(request))
        handoff = Handoff.of(request)
        if handoff is not None:
            tracked.gives_to, tracked.takes = handoff.node, not handoff.gives
            tracked.tail = handoff.tail(request, self._chunking) if self._tails else None
        return tracked

    def _hand_off(self, tracked: _Tracked) -> None:
        """Has the prompt's chunks sent, each as soon as it is stored: before the first of them is computed."""
        if self._namespace is None or not self._options.store:
            return
        request = tracked.request
        chunks = request.num_prompt_tokens // self._chunking.chunk
        keys = self._chunking.keys(request.block_hashes, 0, chunks)
        if tracked.tail is not None:
            keys += tracked.tail.key
        if keys:
            self._lookups.hand_off(keys, tracked.gives_to, _opened(self._namespace, tracked.lora))

    def matched(self, request: Any, computed: int) -> tuple[int | None, bool]:
        """Tokens beyond ``computed`` that can be loaded now, and whether that goes on beside other work.

        None: not known yet. The same question again has the same answer and changes nothing.
        """
        tracked = self._tracked.get(request.request_id)
        if tracked is None:
            tracked = self._track(request)
        if not self._may_load(tracked):
            return 0, False
        first = computed // self._chunking.chunk
        if self._end(tracked, first) <= computed:
            self._drop(tracked)
            return 0, False
        lookup = tracked.lookup
        if lookup is not None and (lookup.first_chunk > first or (lookup.done and not lookup.usable)):
            # The engine has evicted since, or the lease ended with its node: once more.
            self._drop(tracked)
            lookup = None
        if not tracked.asked_at:
            tracked.asked_at = time.monotonic()
        if lookup is None:
            lookup = self._ask(tracked, first, computed)
        if lookup is None or not lookup.done:
            if time.monotonic() - tracked.asked_at > self._patience(tracked) + _GRACE_S:
                self._drop(tracked)
                tracked.no_more_loads = True
                return 0, False
            return None, False
        end = lookup.end if lookup.complete else (lookup.first_chunk + lookup.hits) * self._chunking.chunk
        if end <= computed:
            return 0, False
        tracked.begin = computed
        return end - computed, True

    def _may_load(self, tracked: _Tracked) -> bool:
        return (
            self._namespace is not None
            and self._options.load
            and not tracked.no_more_loads
            and not getattr(tracked.request, "skip_reading_prefix_cache", False)
        )

    def _takes_tail(self, tracked: _Tracked) -> Tail | None:
        """The tail that another engine computes for this request, as long as it has not generated anything itself."""
        request = tracked.request
        return tracked.tail if tracked.takes and request.num_tokens == request.num_prompt_tokens else None

    def _end(self, tracked: _Tracked, first: int) -> int:
        """The last token, of those from chunk ``first`` on, that could be loaded; 0 when there are none."""
        tail = self._takes_tail(tracked)
        chunks = self._chunking.whole_chunks(tracked.request.block_hashes)
        if tail is not None:
            return tail.end
        return chunks * self._chunking.chunk if first < chunks else 0

    def _patience(self, tracked: _Tracked) -> float:
        return self._options.handoff_timeout if tracked.takes else self._options.lookup_timeout

    def _chunks_in_engine(self, request: Any) -> int:
        """Leading chunks whose last block the engine's own prefix cache has."""
        if self._pool is None:
            return 0
        hashes = request.block_hashes
        step = self._chunking.chunk // self._chunking.hashed
        groups = list(range(len(self._chunking.blocks)))
        count = 0
        for index in range(step - 1, len(hashes), step):
            if self._pool.get_cached_block(hashes[index], groups) is None:
                break
            count += 1
        return count

    def _ask(self, tracked: _Tracked, first: int, computed: int) -> Lookup | None:
        """Starts a lookup; None when those that wait hold enough already."""
        assert self._namespace is not None
        hashes = tracked.request.block_hashes
        keys = self._chunking.keys(hashes, first, self._chunking.whole_chunks(hashes))
        tail = self._takes_tail(tracked)
        if tail is not None:
            keys += tail.key
        tokens = len(keys) // KEY_BYTES * self._chunking.chunk
        if self._waiting_tokens and self._waiting_tokens + tokens > self._options.max_waiting_tokens:
            return None
        lookup = Lookup(
            keys,
            first,
            self._end(tracked, first),
            _opened(self._namespace, tracked.lora),
            computed,
            self._speed.tokens_per_s,
            self._patience(tracked),
            tracked.takes,
        )
        if self._load_breaker.is_open and not self._load_breaker.allow():
            lookup.done = lookup.failed = True
        else:
            self._lookups.ask(lookup)
        tracked.lookup = lookup
        self._waiting_tokens += tokens
        return lookup

    def _drop(self, tracked: _Tracked) -> None:
        """Ends interest in what the request has looked up."""
        lookup, tracked.lookup = tracked.lookup, None
        tracked.asked_at = 0.0
        if lookup is not None:
            self._waiting_tokens -= len(lookup.keys) // KEY_BYTES * self._chunking.chunk
            self._lookups.give_back(lookup)

    def allocated(self, request: Any, blocks: Any, external: int) -> None:
        """The request got its blocks; ``external`` tokens of them are to be loaded."""
        tracked = self._tracked.get(request.request_id)
        if tracked is None or tracked.loading:
            return
        if external <= 0:
            self._drop(tracked)
            return
        # Once tokens were offered, vLLM waits for their load: without a lease the order fails, and is reported.
        lookup, ticket = tracked.lookup, self._current_ticket()
        lease = lookup.lease if lookup is not None else None
        begin, end = tracked.begin, tracked.begin + external
        tables = blocks.get_block_ids()
        self._loads.append(
            LoadOrder(
                request=request.request_id,
                lease=lease.id if lease is not None else 0,
                first_chunk=lookup.first_chunk if lookup is not None else 0,
                begin=begin,
                end=end,
                blocks=tuple(
                    list(table[begin // size : -(-end // size)])
                    for table, size in zip(tables, self._chunking.blocks, strict=True)
                ),
                ticket=ticket or Ticket(0, b"", {}),
            )
        )
        tracked.loading = True
        self.offered_tokens += external

    # ---- what is stored

    def build(self, step: Any) -> KvasirMetadata:
        """This step's orders."""
        self._speed.scheduled(step.total_num_scheduled_tokens)
        ticket = self._current_ticket()
        loads, self._loads = self._loads, []
        stores: list[StoreOrder] = []
        if self._options.store and self._pool is not None:
            try:
                self._order_stores(step, ticket, stores)
            except Exception:
                # Loads must reach the workers all the same: vLLM waits for each of them.
                _log.exception("Kvasir: what is to be stored could not be found out")
        idle = step.total_num_scheduled_tokens == 0
        asking = idle and any(t.lookup is not None and not t.lookup.done for t in self._tracked.values())
        return KvasirMetadata(ticket, loads, stores, idle, asking)

    def _order_stores(self, step: Any, ticket: Ticket | None, stores: list[StoreOrder]) -> None:
        for name, scheduled in step.num_scheduled_tokens.items():
            tracked = self._tracked.get(name)
            if tracked is None:
                continue
            request = tracked.request
            if tracked.next_chunk < 0:
                # What was there before this request computed anything has been stored by whoever computed it; but what
                # is handed off has to be in the node, too.
                tracked.next_chunk = 0 if tracked.gives_to else request.num_computed_tokens // self._chunking.chunk
            if not compat.TABLES_ON_DEMAND:
                tracked.table = compat.block_table(step, name) or tracked.table
            if ticket is None:
                continue
            computed = min(request.num_computed_tokens + scheduled, request.num_tokens)
            chunks = self._store_of(tracked, computed, step, ticket)
            if chunks is not None:
                stores.append(chunks)
            if tracked.gives_to and tracked.tail is not None and computed >= tracked.tail.end:
                tail = self._tail_of(tracked, tracked.tail, step, ticket)
                stores += [tail] if tail is not None else []

    def _store_of(self, tracked: _Tracked, computed: int, step: Any, ticket: Ticket) -> StoreOrder | None:
        """Chunks of this request that are complete once this step has run."""
        request, chunking = tracked.request, self._chunking
        end = min(computed // chunking.chunk, chunking.whole_chunks(request.block_hashes))
        if not self._options.store_generated:
            end = min(end, request.num_prompt_tokens // chunking.chunk)
        first = tracked.next_chunk
        if end <= first:
            return None
        blocks = self._blocks(tracked, step, first * chunking.chunk, end * chunking.chunk)
        if blocks is None:
            return None
        needed = sum(1 for ids in blocks for block in ids if block)
        if self._pinned + needed > self._max_pinned and not tracked.gives_to:
            # Tried again at the next step, as long as the request has its blocks.
            self.stores_left_out += 1
            return None
        tracked.next_chunk = end
        job = self._pin(blocks)
        if self._events is not None:
            self._events.ordered(job, request, first, end, chunking)
        return StoreOrder(
            job,
            chunking.keys(request.block_hashes, first, end),
            chunking.parents(request.block_hashes, first, end),
            first,
            blocks,
            tracked.lora,
            ticket,
        )

    def _tail_of(self, tracked: _Tracked, tail: Tail, step: Any, ticket: Ticket) -> StoreOrder | None:
        """The prompt's tail, which is complete once this step has run: pinned before its request can lose it."""
        tracked.tail = None
        blocks = self._blocks(tracked, step, tail.begin, tail.end)
        if blocks is None:
            return None
        chunk = tail.begin // self._chunking.chunk
        parent = self._chunking.keys(tracked.request.block_hashes, chunk - 1, chunk) if chunk else bytes(KEY_BYTES)
        kept = self._options.handoff_seconds
        return StoreOrder(self._pin(blocks), tail.key, parent, chunk, blocks, tracked.lora, ticket, kept)

    def _blocks(self, tracked: _Tracked, step: Any, begin: int, end: int) -> BlockTable | None:
        """The blocks of these tokens; None when the request does not have all of them."""
        table = compat.block_table(step, tracked.request.request_id) if compat.TABLES_ON_DEMAND else tracked.table
        if not table:
            return None
        spans = [slice(begin // size, -(-end // size)) for size in self._chunking.blocks]
        blocks = tuple(list(ids[span]) for ids, span in zip(table, spans, strict=True))
        whole = all(len(ids) == span.stop - span.start for ids, span in zip(blocks, spans, strict=True))
        return blocks if whole else None

    def _pin(self, blocks: BlockTable) -> int:
        """Keeps the blocks until every rank has reported the job whose number this returns."""
        job, self._next_job = self._next_job, self._next_job + 1
        pinned = [self._pool.blocks[block] for ids in blocks for block in ids if block]
        self._pool.touch(pinned)
        self._pins[job], self._remaining[job] = pinned, self._ranks
        self._pinned += len(pinned)
        return job

    # ---- what came of it

    def update(self, output: Any) -> None:
        """What the workers report."""
        reported = output.kv_connector_worker_meta
        if isinstance(reported, KvasirWorkerMetadata):
            for job, ranks in reported.stored.items():
                self._stored(job, ranks, job in reported.refused)
            for request in reported.failed_loads:
                self._load_failed(request)
        for request in output.finished_recving or ():
            self._load_ended(request)

    def _stored(self, job: int, ranks: int, refused: bool) -> None:
        if job not in self._remaining:
            return
        if self._events is not None and refused:
            self._events.refused(job)
        self._remaining[job] -= ranks
        if self._remaining[job] > 0:
            return
        del self._remaining[job]
        pinned = self._pins.pop(job)
        self._pinned -= len(pinned)
        self._pool.free_blocks(reversed(pinned))
        if self._events is not None:
            self._events.stored(job)

    def _load_failed(self, request: str) -> None:
        self.failed_loads += 1
        tracked = self._tracked.get(request)
        if tracked is not None:
            # vLLM asks again at once when nothing arrived; the same answer would fail for ever.
            tracked.no_more_loads = True
        if self._load_breaker.failed():
            _log.warning(
                "Kvasir: loads fail one after the other; prompts are computed, and now and then one load is tried"
            )

    def _load_ended(self, request: str) -> None:
        tracked = self._tracked.get(request)
        if tracked is None or not tracked.loading:
            return
        tracked.loading = False
        self._drop(tracked)
        if not tracked.no_more_loads and self._load_breaker.succeeded():
            _log.info("Kvasir: loads work again")
        if getattr(tracked.request, "is_finished", lambda: False)():
            self._tracked.pop(request, None)

    def finished(self, request: Any) -> None:
        """The request ended, in whatever way. Its blocks may go: stores in flight have pinned theirs."""
        tracked = self._tracked.get(request.request_id)
        if tracked is None or tracked.loading:
            return  # a load is still writing into its blocks: vLLM keeps them until the workers have reported
        self._drop(tracked)
        del self._tracked[request.request_id]

    def forget(self, namespace: Namespace) -> None:
        """From now on another namespace: what was stored before is not found any more."""
        self._namespace = namespace
        self._ticket = None
        for tracked in self._tracked.values():
            if not tracked.loading:
                self._drop(tracked)

    @property
    def has_pending_stores(self) -> bool:
        """Stores are in flight: the engine has to go on stepping so that they are reported."""
        return bool(self._remaining)

    @property
    def held(self) -> dict[str, int]:
        """What is held right now; all zeros when no request is there. For tests."""
        return {
            "requests": len(self._tracked),
            "pins": self._pinned,
            "jobs": len(self._remaining),
            "waiting_tokens": self._waiting_tokens,
            "leases": self._lookups.outstanding,
        }

    def _current_ticket(self) -> Ticket | None:
        identity = self._lookups.identity
        if identity is None or self._namespace is None:
            return None
        if self._ticket is None or self._ticket.session != identity.session:
            self._ticket = Ticket(identity.session, identity.secret, namespace_fields(self._namespace))
        return self._ticket


def _opened(namespace: Namespace, lora: str) -> Namespace:
    return Namespace(**namespace_fields(namespace), lora=lora) if lora else namespace  # type: ignore[arg-type]


def _lora_of(request: Any) -> str:
    """Names the adapter so that another one of the same name is another namespace."""
    lora = request.lora_request
    return f"{lora.lora_name} {lora.lora_path}" if lora is not None else ""
