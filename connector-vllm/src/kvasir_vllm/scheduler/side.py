"""The scheduler's half: which tokens can be loaded, what is to be stored, and what is held meanwhile.

Called by vLLM's scheduler, in its thread. Nothing here waits: :mod:`kvasir_vllm.scheduler.lookups` asks the node.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from kvasir import Namespace
from kvasir.engine.breaker import Breaker

from kvasir_vllm.scheduler.adapters import Adapters
from kvasir_vllm.scheduler.events import StoredEvents
from kvasir_vllm.scheduler.handoff import Handoff, Tail
from kvasir_vllm.scheduler.lookups import DIRECTORY_CHUNKS, Lookup, LookupService, namespace_fields
from kvasir_vllm.scheduler.prefill import PrefillSpeed, prefill_tokens
from kvasir_vllm.scheduler.stores import Stores
from kvasir_vllm.scheduler.tracked import Tracked
from kvasir_vllm.shared.chunks import KEY_BYTES, Chunking
from kvasir_vllm.shared.metadata import KvasirMetadata, KvasirWorkerMetadata, LoadOrder, StoreOrder, Ticket
from kvasir_vllm.shared.options import ConnectorOptions

_log = logging.getLogger("vllm.kvasir")

#: Beyond a lookup's own time, for the thread to run at all.
_GRACE_S = 0.25


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
        options: ConnectorOptions,
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
        self._stores = Stores(options, chunking, events, max_pinned, ranks)
        self._tails = tails
        self._pool: Any = None
        self._namespace: Namespace | None = None
        self._tracked: dict[str, Tracked] = {}
        self._loads: list[LoadOrder] = []
        self._waiting_tokens = 0
        self._adapters = Adapters()
        self._load_breaker = Breaker()
        self._speed = PrefillSpeed()
        self._ticket: Ticket | None = None
        self.loaded_tokens = 0
        self.offered_tokens = 0
        self.failed_loads = 0

    def begin(self, namespace: Namespace, patience: float) -> None:
        """The namespace is known: from now on there is something to ask for. Waits so many seconds for the node."""
        self._namespace = namespace
        self._lookups.start(namespace, patience)

    def bind(self, pool: Any) -> None:
        """vLLM's block pool, for pins and for what the GPU holds."""
        self._pool = pool
        self._stores.bind(pool)

    def close(self) -> None:
        """Ends the session."""
        self._adapters.close()
        self._lookups.close()

    # ---- what can be loaded

    def on_new_request(self, request: Any) -> None:
        """Asks ahead, so that the answer is there when the request's turn comes."""
        tracked = self._track(request)
        self._hand_off(tracked)
        if not self._may_load(tracked) or not tracked.adapter.known:
            return
        first = self._chunks_in_engine(request)
        if self._end(tracked, first):
            self._ask(tracked, first, first * self._chunking.chunk)

    def _track(self, request: Any) -> Tracked:
        tracked = self._tracked[request.request_id] = Tracked(request, self._adapters.of(request))
        handoff = Handoff.of(request)
        if handoff is not None:
            tracked.gives_to, tracked.takes = handoff.node, not handoff.gives
            tracked.tail = handoff.tail(request, self._chunking) if self._tails else None
        return tracked

    def _hand_off(self, tracked: Tracked) -> None:
        """Has the prompt's chunks sent, each as soon as it is stored: before the first of them is computed."""
        if not tracked.gives_to or tracked.handed_off or not tracked.adapter.known:
            return
        if self._namespace is None or not self._options.store:
            return
        tracked.handed_off = True
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
        if self._end(tracked, first) <= computed or not (tracked.adapter.known or tracked.adapter.pending):
            self._drop(tracked)
            return 0, False
        lookup = tracked.lookup
        if lookup is not None and (lookup.first_chunk > first or (lookup.done and not lookup.usable)):
            # The engine has evicted since, or the lease ended with its node: once more.
            self._drop(tracked)
            lookup = None
        if not tracked.asked_at:
            tracked.asked_at = time.monotonic()
        if lookup is None and tracked.adapter.known:
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

    def _may_load(self, tracked: Tracked) -> bool:
        return (
            self._namespace is not None
            and self._options.load
            and not tracked.no_more_loads
            and not getattr(tracked.request, "skip_reading_prefix_cache", False)
        )

    def _takes_tail(self, tracked: Tracked) -> Tail | None:
        """The tail that another engine computes for this request, as long as it has not generated anything itself."""
        request = tracked.request
        return tracked.tail if tracked.takes and request.num_tokens == request.num_prompt_tokens else None

    def _end(self, tracked: Tracked, first: int) -> int:
        """The last token, of those from chunk ``first`` on, that could be loaded; 0 when there are none."""
        tail = self._takes_tail(tracked)
        chunks = self._chunking.whole_chunks(tracked.request.block_hashes)
        if tail is not None:
            return tail.end
        return chunks * self._chunking.chunk if first < chunks else 0

    def _patience(self, tracked: Tracked) -> float:
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

    def _ask(self, tracked: Tracked, first: int, computed: int) -> Lookup | None:
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
            self._chunking.keys(hashes, first - first % DIRECTORY_CHUNKS, first),
        )
        if self._load_breaker.is_open and not self._load_breaker.allow():
            lookup.done = lookup.failed = True
        else:
            self._lookups.ask(lookup)
        tracked.lookup = lookup
        self._waiting_tokens += tokens
        return lookup

    def _drop(self, tracked: Tracked) -> None:
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
        ticket = self._current_ticket()
        loads, self._loads = self._loads, []
        stores: list[StoreOrder] = []
        if self._options.store:
            try:
                for name in step.num_scheduled_tokens:
                    if name in self._tracked:  # its adapter may have been unknown until now
                        self._hand_off(self._tracked[name])
                stores = self._stores.order(step, self._tracked, ticket)
            except Exception:
                # Loads must reach the workers all the same: vLLM waits for each of them.
                _log.exception("Kvasir: what is to be stored could not be found out")
        idle = step.total_num_scheduled_tokens == 0
        asking = idle and any(
            t.adapter.pending or (t.lookup is not None and not t.lookup.done) for t in self._tracked.values()
        )
        return KvasirMetadata(ticket, loads, stores, idle, asking, self._measured(step))

    def _measured(self, step: Any) -> int:
        """The number under which the step's output is reported."""
        prefill = sum(
            prefill_tokens(tracked.request, scheduled)
            for name, scheduled in step.num_scheduled_tokens.items()
            if (tracked := self._tracked.get(name)) is not None
        )
        return self._speed.scheduled(prefill, step.total_num_scheduled_tokens - prefill)

    # ---- what came of it

    def update(self, output: Any) -> None:
        """What the workers report."""
        reported = output.kv_connector_worker_meta
        if isinstance(reported, KvasirWorkerMetadata):
            self._speed.ended(reported.step)
            for job, ranks in reported.stored.items():
                self._stores.reported(job, ranks, job in reported.refused)
            for request in reported.failed_loads:
                self._load_failed(request)
        for request in output.finished_recving or ():
            self._load_ended(request)

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
        if not tracked.no_more_loads:
            self._stores.loaded(tracked, self._ticket.session if self._ticket is not None else 0)
            if self._load_breaker.succeeded():
                _log.info("Kvasir: loads work again")
        self._drop(tracked)
        if getattr(tracked.request, "is_finished", lambda: False)():
            self._tracked.pop(request, None)

    def finished(self, request: Any) -> None:
        """The request ended, in whatever way. Its blocks may go: stores in flight have pinned theirs."""
        tracked = self._tracked.get(request.request_id)
        if tracked is None or tracked.loading:
            return  # a load is still writing into its blocks: vLLM keeps them until the workers have reported
        self._drop(tracked)
        del self._tracked[request.request_id]

    def forget(self, namespace: Namespace | None) -> None:
        """From now on another namespace, or one that is not known yet: what was stored before is not found any more."""
        self._namespace = namespace
        self._ticket = None
        self._adapters.forget()
        self._stores.forget(self._tracked)
        for tracked in self._tracked.values():
            if not tracked.loading:
                self._drop(tracked)

    @property
    def has_pending_stores(self) -> bool:
        """Stores are in flight: the engine has to go on stepping so that they are reported."""
        return self._stores.in_flight > 0

    @property
    def stores_left_out(self) -> int:
        """Stores that had to wait, or a part of which had to."""
        return self._stores.left_out

    @property
    def held(self) -> dict[str, int]:
        """What is held right now; all zeros when no request is there. For tests."""
        return {
            "requests": len(self._tracked),
            "pins": self._stores.pinned,
            "jobs": self._stores.in_flight,
            "waiting_tokens": self._waiting_tokens,
            "leases": self._lookups.outstanding,
        }

    def _current_ticket(self) -> Ticket | None:
        identity = self._lookups.identity
        if identity is None or self._namespace is None:
            return None
        if self._ticket is None or self._ticket.session != identity.session:
            # What failed was another session's.
            self._load_breaker.succeeded()
            self._ticket = Ticket(identity.session, identity.secret, namespace_fields(self._namespace))
        return self._ticket


def _opened(namespace: Namespace, lora: str) -> Namespace:
    return Namespace(**namespace_fields(namespace), lora=lora) if lora else namespace  # type: ignore[arg-type]
