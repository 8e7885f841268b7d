"""The connector that vLLM loads: one object in the engine's scheduler process and one in each worker.

It joins the two halves to vLLM's interface and holds the line that nothing here ends an engine: once started, every
failure is a miss and a log line.
"""

from __future__ import annotations

import functools
import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from dataclasses import replace
from typing import Any, TypeVar, cast

import torch
from kvasir import KvasirError
from kvasir.engine.breaker import Breaker
from kvasir.engine.copiers import copier_of
from kvasir.engine.options import ConfigurationError
from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorBase_V1, KVConnectorRole, SupportsHMA
from vllm.v1.core.kv_cache_utils import resolve_kv_cache_block_sizes

from kvasir_vllm.scheduler.events import StoredEvents
from kvasir_vllm.scheduler.lookups import LookupService
from kvasir_vllm.scheduler.side import SchedulerSide
from kvasir_vllm.shared import compat
from kvasir_vllm.shared.chunks import Chunking, chunk_tokens_of
from kvasir_vllm.shared.fingerprint import Identity, identity_of
from kvasir_vllm.shared.kvlayout import log_layout, wanted_layout
from kvasir_vllm.shared.metadata import KvasirMetadata, WorkerLayout
from kvasir_vllm.shared.options import THE_FLAG, ConnectorOptions
from kvasir_vllm.shared.published import Published
from kvasir_vllm.shared.stats import IDENTITY, KvasirPromMetrics, KvasirStats
from kvasir_vllm.shared.topology import refuse_what_is_not_served, topology_of
from kvasir_vllm.worker.pages import layout_of
from kvasir_vllm.worker.side import WorkerSide

#: The engine's start waits this long for the namespace, and then this long for the node: with both there, the first
#: prompt is stored already.
IDENTITY_PATIENCE_S = 5.0
START_PATIENCE_S = 5.0

_log = logging.getLogger("vllm.kvasir")
_Method = TypeVar("_Method", bound=Callable[..., Any])


def _never_raises(answer: Callable[[], Any] = lambda: None) -> Callable[[_Method], _Method]:
    """A method of the connector that answers ``answer()`` where it would raise, and says so once for each method."""

    def wrap(method: _Method) -> _Method:
        @functools.wraps(method)
        def guarded(self: Any, *arguments: Any, **named: Any) -> Any:
            try:
                return method(self, *arguments, **named)
            except Exception:
                if method.__name__ not in self._said:
                    self._said.add(method.__name__)
                    _log.exception("Kvasir: %s failed; the engine goes on without it", method.__name__)
                return answer()

        return cast(_Method, guarded)

    return wrap


def _complete(future: Future[Any], make: Callable[..., Any], *arguments: Any) -> None:
    try:
        future.set_result(make(*arguments))
    except Exception as error:
        future.set_exception(error)


class KvasirConnector(KVConnectorBase_V1, SupportsHMA):  # type: ignore[misc]
    """vLLM's KV connector for Kvasir. Options: :class:`kvasir_vllm.shared.options.ConnectorOptions`."""

    def __init__(self, vllm_config: Any, role: KVConnectorRole, kv_cache_config: Any) -> None:
        """Raises :class:`ConfigurationError` or :class:`UnsupportedEngineError` where starting would be wrong."""
        super().__init__(vllm_config=vllm_config, role=role, kv_cache_config=kv_cache_config)
        self._said: set[str] = set()
        transfer = vllm_config.kv_transfer_config
        options = ConnectorOptions.of(transfer.kv_connector_extra_config or {})
        self._options = replace(options, store=options.store and transfer.kv_role != "kv_consumer")
        if transfer.kv_load_failure_policy != "recompute" and not options.allow_failure_policy_fail:
            raise ConfigurationError(
                f"kv_load_failure_policy is {transfer.kv_load_failure_policy!r}: a request whose load fails would "
                f"end with an error, where its tokens could be computed. Start vLLM with\n  {THE_FLAG}\n"
                "or set allow_failure_policy_fail in kv_connector_extra_config"
            )
        refuse_what_is_not_served(vllm_config, kv_cache_config)
        block, hashed = resolve_kv_cache_block_sizes(kv_cache_config, vllm_config)
        chunk = chunk_tokens_of(block, self._options.chunk_tokens)
        groups = kv_cache_config.kv_cache_groups
        self._chunking = Chunking(chunk, hashed, tuple(group.kv_cache_spec.block_size for group in groups))
        self._topology = topology_of(vllm_config, kv_cache_config, chunk)
        self._worker: WorkerSide | None = None
        self._layout: WorkerLayout | None = None
        self._scheduler: SchedulerSide | None = None
        self._lookups: LookupService | None = None
        self._events: StoredEvents | None = None
        self._taken: dict[str, int] = {}
        self._identity: Identity | None = None
        self._identifying: Future[Identity] | None = None
        self._generation: int | None = None
        self._told = ""
        if role == KVConnectorRole.SCHEDULER:
            self._start_scheduler_side(vllm_config, kv_cache_config)

    def _start_scheduler_side(self, vllm_config: Any, kv_cache_config: Any) -> None:
        log_layout(vllm_config)
        events = vllm_config.kv_events_config
        self._events = StoredEvents() if events is not None and events.enable_kv_cache_events else None
        name = f"vllm {compat.VERSION} {self._kv_transfer_config.engine_id} pid {os.getpid()}"
        removed = self._events.removed if self._events is not None else None
        self._lookups = LookupService(
            self._options, self._topology.shards, self._topology.rules, name, Breaker(), removed
        )
        self._scheduler = SchedulerSide(
            self._options,
            self._chunking,
            self._lookups,
            self._events,
            max(1, int(kv_cache_config.num_blocks * self._options.max_pinned_share)),
            vllm_config.parallel_config.world_size,
            tails=not any(self._topology.windows),
        )

    # ---- what vLLM asks about the class

    @property
    def requires_kv_delivery(self) -> bool:
        """False: vLLM asks once, for all requests, and would compute a cache's requests again when it preempts them.

        A prompt that is handed off needs no more: its blocks are pinned in the step that computes them, so that their
        stores outlive whatever becomes of the request.
        """
        return False

    @classmethod
    def get_required_kvcache_layout(cls, vllm_config: Any) -> str | None:
        """The layout of the KV cache that is asked for; None for vLLM's own choice. Never raises."""
        return wanted_layout(vllm_config).name

    @classmethod
    def build_kv_connector_stats(cls, data: dict[str, Any] | None = None) -> KvasirStats:
        """Statistics from what a worker sent."""
        return KvasirStats(data=data or {})

    @classmethod
    def build_prom_metrics(
        cls,
        vllm_config: Any,
        metric_types: dict[Any, Any],
        labelnames: list[str],
        per_engine_labelvalues: dict[int, list[object]],
    ) -> KvasirPromMetrics:
        """Metrics for vLLM's ``/metrics``."""
        return KvasirPromMetrics(vllm_config, metric_types, labelnames, per_engine_labelvalues)

    # ---- worker

    def register_kv_caches(self, kv_caches: dict[str, torch.Tensor]) -> None:
        """Takes the pages; raises :class:`UnsupportedEngineError` where their bytes do not lie together."""
        from vllm.distributed.parallel_state import get_pp_group, get_tp_group

        layout, fingerprint = layout_of(self._vllm_config, self._kv_cache_config, kv_caches, self._chunking)
        tp_rank, pp_rank = get_tp_group().rank_in_group, get_pp_group().rank_in_group
        self._layout = WorkerLayout(fingerprint, layout.object_bytes)
        new_copier = copier_of(next(iter(kv_caches.values())).device)
        name = f"vllm {compat.VERSION} worker tp {tp_rank} pp {pp_rank} pid {os.getpid()}"
        self._worker = WorkerSide(
            self._options,
            layout,
            self._topology.index(pp_rank, tp_rank),
            self._topology.stores(tp_rank),
            name,
            new_copier() if new_copier is not None else None,
        )

    def get_handshake_metadata(self) -> WorkerLayout | None:
        """The pages' layout, for the scheduler's half."""
        return self._layout

    @_never_raises()
    def handle_preemptions(self, kv_connector_metadata: Any) -> None:
        """Nothing to wait for: blocks that a store still reads are pinned, and loads are never preempted."""

    @_never_raises()
    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        """Begins this step's loads."""
        metadata = self._orders()
        if self._worker is not None and metadata is not None:
            self._worker.follow(metadata.ticket)
            self._worker.load(metadata.loads)

    def wait_for_layer_load(self, layer_name: str) -> None:
        """Nothing: a request is not computed before its load has ended."""

    def save_kv_layer(self, layer_name: str, kv_layer: Any, attn_metadata: Any, **kwargs: Any) -> None:
        """Nothing: whole chunks are stored after the forward pass."""

    @_never_raises()
    def wait_for_save(self) -> None:
        """Begins this step's stores; their blocks are pinned until they are reported."""
        metadata = self._orders()
        if self._worker is not None and metadata is not None:
            self._worker.store(metadata.stores)

    @_never_raises(lambda: (None, None))
    def get_finished(self, finished_req_ids: set[str]) -> tuple[set[str] | None, set[str] | None]:
        """Requests whose load has ended."""
        received, _ = self._ended()
        return None, received or None

    def get_transfer_results(self, finished_req_ids: set[str]) -> Any:
        """Requests whose load has ended; with several KV groups also those whose load failed."""
        try:
            received, failed = self._ended()
        except Exception:
            _log.exception("Kvasir: get_transfer_results failed")
            received, failed = set(), set()
        return compat.transfer_results(received, failed if len(self._chunking.blocks) > 1 else set())

    def _ended(self) -> tuple[set[str], set[str]]:
        metadata = self._orders()
        if self._worker is None:
            return set(), set()
        if metadata is not None:
            self._worker.wait_a_moment(metadata)
        return self._worker.take_received()

    @_never_raises(set)
    def get_block_ids_with_load_errors(self) -> set[int]:
        """Blocks that did not get their bytes; with several KV groups the requests are named instead."""
        if self._worker is None:
            return set()
        bad = self._worker.take_bad_blocks()
        return bad if len(self._chunking.blocks) == 1 else set()

    @_never_raises()
    def build_connector_worker_meta(self) -> Any:
        """What the scheduler's half has to know of this step."""
        metadata = self._orders()
        step = metadata.step if metadata is not None else 0
        return self._worker.take_report(step) if self._worker is not None else None

    def _orders(self) -> KvasirMetadata | None:
        metadata = self._connector_metadata
        return metadata if isinstance(metadata, KvasirMetadata) else None

    # ---- scheduler

    @_never_raises()
    def set_xfer_handshake_metadata(self, metadata: dict[int, Any]) -> None:
        """The workers' layouts, by rank: with them the namespace is known, and work begins."""
        self.set_xfer_handshake_metadata_pp_aware({(0, rank): layout for rank, layout in metadata.items()})

    @_never_raises()
    def set_xfer_handshake_metadata_pp_aware(self, metadata: dict[tuple[int, int], Any]) -> None:
        """The workers' layouts, by pipeline and tensor rank."""
        assert self._scheduler is not None
        layouts: dict[int, set[str]] = {}
        for (pp_rank, _), layout in metadata.items():
            layouts.setdefault(pp_rank, set()).add(layout.fingerprint)
        if any(len(found) != 1 for found in layouts.values()):
            _log.error("Kvasir: the ranks of this engine lay out their KV differently; nothing is loaded or stored")
            return
        parallel = f"tp {self._topology.tp_size} pp {self._topology.pp_size}"
        fingerprint = "; ".join([parallel, *(layouts[rank].pop() for rank in sorted(layouts))])
        # Files that nobody has hashed yet can take minutes: the engine serves meanwhile, and shares nothing.
        self._identifying = Future()
        threading.Thread(
            target=_complete, name="kvasir-identity", daemon=True,
            args=(self._identifying, identity_of, self._vllm_config, fingerprint, self._chunking.chunk, self._options),
        ).start()  # fmt: skip
        if not self._identified(IDENTITY_PATIENCE_S, START_PATIENCE_S):
            _log.info("Kvasir: the engine starts while its weights are hashed; until then nothing is loaded or stored")

    def _identified(self, seconds: float = 0.0, patience: float = 0.0) -> bool:
        """Begins to load and store once the namespace is known; False: it is not.

        Args:
            seconds: to wait for it.
            patience: seconds to wait for the node then.
        """
        identifying = self._identifying
        if identifying is None:
            return True
        if not wait((identifying,), seconds).done:
            return False
        self._identifying = None
        identity = identifying.result()
        if self._generation is not None:
            identity = replace(identity, namespace=replace(identity.namespace, generation=self._generation))
        if identity.private:
            _log.warning("Kvasir: this engine shares with no other: %s", identity.private)
        assert self._scheduler is not None
        self._begin(identity)
        self._scheduler.begin(identity.namespace, patience)
        return True

    def bind_gpu_block_pool(self, gpu_block_pool: Any) -> None:
        """vLLM's block pool."""
        if self._scheduler is not None:
            self._scheduler.bind(gpu_block_pool)

    @_never_raises()
    def on_new_request(self, request: Any) -> None:
        """Asks ahead."""
        assert self._scheduler is not None
        self._identified()
        self._scheduler.on_new_request(request)

    @_never_raises(lambda: (0, False))
    def get_num_new_matched_tokens(self, request: Any, num_computed_tokens: int) -> tuple[int | None, bool]:
        """Tokens that can be loaded now; None while the node has not answered. Never waits."""
        assert self._scheduler is not None
        return self._scheduler.matched(request, num_computed_tokens)

    @_never_raises()
    def update_state_after_alloc(self, request: Any, blocks: Any, num_external_tokens: int) -> None:
        """The request has its blocks: orders the load."""
        assert self._scheduler is not None
        self._scheduler.allocated(request, blocks, num_external_tokens)

    @_never_raises(KvasirMetadata)
    def build_connector_meta(self, scheduler_output: Any) -> KvasirMetadata:
        """This step's orders."""
        assert self._scheduler is not None
        self._identified()
        return self._scheduler.build(scheduler_output)

    @_never_raises()
    def update_connector_output(self, connector_output: Any) -> None:
        """What the workers report."""
        assert self._scheduler is not None
        self._scheduler.update(connector_output)

    @_never_raises(lambda: (False, None))
    def request_finished(self, request: Any, block_ids: list[int]) -> tuple[bool, dict[str, Any] | None]:
        """The request ended; its blocks may go."""
        return self.request_finished_all_groups(request, (block_ids,))

    @_never_raises(lambda: (False, None))
    def request_finished_all_groups(
        self, request: Any, block_ids: tuple[list[int], ...]
    ) -> tuple[bool, dict[str, Any] | None]:
        """The request ended; its blocks may go."""
        assert self._scheduler is not None
        self._scheduler.finished(request)
        return False, None

    @_never_raises(tuple)
    def take_events(self) -> Iterable[Any]:
        """KV events since the last call."""
        return list(self._events.take()) if self._events is not None else ()

    @_never_raises(bool)
    def has_pending_push_work(self) -> bool:
        """Stores are in flight."""
        return self._scheduler is not None and self._scheduler.has_pending_stores

    @_never_raises(bool)
    def reset_cache(self) -> bool:
        """Forgets what was stored, as after an update of the weights: a new generation, this engine's alone.

        Two engines that got the same update can share again with the same ``generation`` in their options.
        """
        if self._scheduler is None or (self._identity is None and self._identifying is None):
            return False
        self._generation = secrets.randbits(63)
        if self._identity is None:
            self._scheduler.forget(None)
            return True  # begins with this generation
        namespace = replace(self._identity.namespace, generation=self._generation)
        self._begin(replace(self._identity, namespace=namespace))
        self._scheduler.forget(namespace)
        _log.info("Kvasir: a new generation of the namespace: what was stored before is not loaded any more")
        return True

    # ---- both

    @_never_raises()
    def get_kv_connector_stats(self) -> KvasirStats | None:
        """Sums of this interval."""
        if self._worker is not None:
            data = self._worker.counters.take()
            return KvasirStats(data=data) if data else None
        if self._scheduler is None or self._lookups is None:
            return None
        now = {
            "lookups": self._lookups.counters.asked,
            "failed_lookups": self._lookups.counters.failed,
            "handoffs": self._lookups.counters.handoffs,
            "failed_handoffs": self._lookups.counters.failed_handoffs,
            "offered_tokens": self._scheduler.offered_tokens,
            "stores_left_out": self._scheduler.stores_left_out,
        }
        data = {name: value - self._taken.get(name, 0) for name, value in now.items()}
        if not any(data.values()):
            return None
        self._taken = now
        seconds, self._lookups.counters.seconds = self._lookups.counters.seconds, []
        return KvasirStats(data={**data, "lookup_seconds": seconds, **self._told_identity()})

    def _told_identity(self) -> dict[str, str]:
        """With every interval in which something happened: whoever shows it may have been started anew."""
        return {IDENTITY: self._told} if self._told else {}

    def _begin(self, identity: Identity) -> None:
        """What this engine's bytes are filed under from now on."""
        self._identity = identity
        told = Published.of(identity.namespace, self._topology.shards, self._chunking.hashed, identity.private)
        self._told = told.text()

    def shutdown(self) -> None:
        """Ends the copies, then the session."""
        for part in (self._worker, self._scheduler):
            if part is not None:
                try:
                    part.close()
                except (KvasirError, RuntimeError, OSError) as error:
                    _log.warning("Kvasir: while shutting down: %s", error)
