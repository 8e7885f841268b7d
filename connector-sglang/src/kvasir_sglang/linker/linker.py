"""The class that SGLang loads as a cache linker: pages go between the GPU and the node, without a host pool between.

SGLang asks in its scheduler's thread, and takes at its word what is found: a load that then fails ends its requests.
So only pages that are leased in the node's DRAM are found. Copies run in two threads here, which never end by an
exception and never outlast their deadlines (:mod:`kvasir_sglang.shared.transfer`).
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final

import numpy as np
import torch
from kvasir import Deadline, KvasirError, Lease, SlotStatus
from kvasir.engine.copiers import copier_of
from kvasir.identity import KEY_BYTES
from sglang.srt.mem_cache.hicache_storage import PoolHitPolicy, PoolName, PoolTransfer
from sglang.srt.mem_cache.unified_cache.unified_cache_linker import LayerWiseLoadCounter, UnifiedCacheLinker
from sglang.srt.runtime_context import get_parallel
from sglang.srt.utils import get_device_module

from kvasir_sglang.linker.device_pages import DevicePages, device_pools
from kvasir_sglang.linker.task_thread import TaskThread
from kvasir_sglang.shared.identity import NO_PARENT, Ranks, pack
from kvasir_sglang.shared.pages import I64, Bools, PageError, name_of
from kvasir_sglang.shared.prefixes import complete_prefixes
from kvasir_sglang.shared.rank_client import RankClient
from kvasir_sglang.shared.transfer import HOLD_SECONDS, PoolPlace

#: Layers are loaded in groups of at least so many bytes: each group costs two looks at each page's header.
GROUP_BYTES: Final = 4 << 20
#: Deadlines are those of so many pages.
_BATCH_PAGES: Final = 128
#: Pages of one question; those after them are not found. A frame holds about twice as many.
_MOST_PAGES: Final = 16384
#: SGLang asks for a waiting request in every step: so long an answer that is not the best one is good enough.
_ANSWER_SECONDS: Final = 0.1
#: An answer is given again only while its leases last so long.
_LEAST_LEASE_SECONDS: Final = 2.0


@dataclass(frozen=True)
class _DevicePool:
    name: str
    pages: DevicePages
    place: PoolPlace


@dataclass(frozen=True)
class _Found:
    """What a request was told, and the leases that make it true."""

    keys: bytes
    windows: dict[str, int]
    leases: dict[str, Lease]
    restorable: list[int]
    best: bool
    asked_at: float

    def answers(self, keys: bytes, windows: dict[str, int]) -> bool:
        """Whether the same is asked, and the answer still holds."""
        now = time.monotonic()
        return (
            (self.keys, self.windows) == (keys, windows)
            and all(lease.alive and lease.expires_at > now + _LEAST_LEASE_SECONDS for lease in self.leases.values())
            and (self.best or now < self.asked_at + _ANSWER_SECONDS)
        )

    def part(self, wanted: _Wanted) -> Lease | None:
        """The part of a lease that covers these pages, as long as it is alive."""
        lease = self.leases.get(wanted.pool.name)
        at = self.keys.find(wanted.keys)
        if lease is None or not lease.alive or at < 0 or at % KEY_BYTES:
            return None
        return lease.part(at // KEY_BYTES, len(wanted.starts))


@dataclass(frozen=True)
class _Wanted:
    """Pages of one pool that a request loads."""

    pool: _DevicePool
    keys: bytes
    starts: I64


@dataclass(frozen=True)
class _Load:
    """What one request loads."""

    wanted: list[_Wanted]
    found: _Found | None


class PagesGoneError(KvasirError):
    """Pages that were found are not there any more, or their copy did not end in time."""

    code = "PAGES_GONE"
    hint = "raise load_deadline_ms when the node was not restarted"


class KvasirLinker(UnifiedCacheLinker):  # type: ignore[misc, unused-ignore]
    """Cache linker on the node beside the engine; SGLang constructs one for each rank.

    Args:
        server_args: SGLang's, for the weights.
        params: SGLang's, with the pools and the ranks' groups.
        components: of SGLang's tree.
        extra_config: ``extra_config["kvasir"]`` holds our :class:`~kvasir_sglang.shared.options.EngineOptions`.
        forward_stream: on which the engine writes pages.

    Raises:
        ValueError: see :class:`~kvasir_sglang.shared.rank_client.RankClient`; or pools whose pages cannot be stored.
        UnsupportedError: pools on a device that cannot be copied from.
    """

    def __init__(
        self,
        server_args: Any,
        params: Any,
        *,
        components: set[Any],
        extra_config: dict[str, Any] | None = None,
        forward_stream: Any = None,
    ) -> None:
        self.forward_stream = forward_stream
        kvcache = params.token_to_kv_pool_allocator.get_kvcache()
        self._group = device_pools(kvcache, params, components)
        self.pools = self._group.entry_map
        pages = {name_of(entry.name): DevicePages(entry, self._group.num_layers) for entry in self._group.entries}
        ranks = _ranks(params, replicated=self._group.rank_replicated)
        device = self._group.entries[0].kv_buffer[0].device
        model = str(getattr(server_args, "served_model_name", None) or getattr(server_args, "model_path", ""))
        self._client = RankClient(extra_config, ranks, model, copier_of(device), server_args=server_args)
        self._options = self._client.options
        self._bounded = self._client.transfer.bounded
        self._stores = not self._group.rank_replicated or ranks.tp_rank == 0
        drafts = bool(params.mtp_draft_device_pools or params.sidecar_draft_device_pools)
        self._pools = {name: self._placed(name, each, params.page_size, drafts) for name, each in pages.items()}
        self.layer_done_counter = LayerWiseLoadCounter(self._group.num_layers)
        if PoolName.MAMBA in self.pools:
            params.req_to_token_pool.register_layer_transfer_counter(self.layer_done_counter)

        self._lock = threading.Lock()
        self._found: dict[str, _Found] = {}
        self._queued: dict[str, _Load] = {}
        self._loads = TaskThread("kvasir-linker-load", self._load, self._forget_expired)
        self._offloads = TaskThread("kvasir-linker-store", self._offload)
        self._results: SimpleQueue[bool] = SimpleQueue()
        self._client.open(next(iter(self._pools.values())).place)

    def _placed(self, name: str, pages: DevicePages, page_tokens: int, drafts: bool) -> _DevicePool:
        # Buffers of a draft model stand beside the model's own in one object.
        identity = f"{name} with draft" if drafts else name
        split = not self._group.rank_replicated
        return _DevicePool(name, pages, self._client.place(identity, pages, page_tokens, split=split))

    # ---- asking: SGLang's scheduler

    def lookup(self, rid: str, transfers: list[PoolTransfer]) -> list[int]:
        """Every prefix length, in pages, whose pages are all in the node's DRAM; leased for the load that follows.

        What is in a slower tier is on its way into DRAM afterwards, and found by a later question.
        """
        none: list[int] = []
        wanted = self._group.resolve_transfers(transfers)
        pages = next((list(each.keys or ()) for each in transfers if each.name == PoolName.KV), [])[:_MOST_PAGES]
        if not wanted or not pages:
            return none
        keys = pack(pages)
        windows = {name_of(each.name): _window(each) for each in wanted}
        with self._lock:
            known = self._found.get(rid)
        if known is not None and known.answers(keys, windows):
            return known.restorable

        def ask(deadline: Deadline) -> list[int]:
            return self._ask(rid, keys, windows, deadline)

        return self._bounded("linker_lookup", self._options.exists_deadline_ms, ask, none)

    def _ask(self, rid: str, keys: bytes, windows: dict[str, int], deadline: Deadline) -> list[int]:
        self._drop(rid)
        count = len(keys) // KEY_BYTES
        restorable = np.ones(count, dtype=bool)
        leases: dict[str, Lease] = {}
        try:
            for name, window in windows.items():
                place = self._pools[name].place
                lease = self._client.transfer.lease(place, keys, deadline, sparse=bool(window), seconds=HOLD_SECONDS)
                leases[name] = lease
                restorable &= complete_prefixes(_hits(lease, count), window)
                if not restorable.any():
                    break
        except BaseException:
            self._give_back(leases)
            raise
        lengths: list[int] = (np.flatnonzero(restorable) + 1).tolist()
        if not lengths:
            # Nothing will be loaded. The next step asks again: what came from a slower tier is there by then.
            self._give_back(leases)
            leases = {}
        with self._lock:
            self._found[rid] = _Found(keys, windows, leases, lengths, lengths[-1:] == [count], time.monotonic())
        return lengths

    def _drop(self, rid: str) -> None:
        with self._lock:
            found = self._found.pop(rid, None)
        if found is not None:
            self._give_back(found.leases)

    def _forget_expired(self) -> None:
        with self._lock:
            over = [rid for rid, found in self._found.items() if time.monotonic() > found.asked_at + HOLD_SECONDS]
        for rid in over:
            self._drop(rid)

    def _give_back(self, leases: dict[str, Lease]) -> None:
        for lease in leases.values():
            self._client.transfer.give_back(lease)

    # ---- loading

    def load(self, rid: str, transfers: list[PoolTransfer]) -> bool:
        """Queues pages for the next batch. Whether it does so depends on the transfers alone, as ranks must agree."""
        wanted = self._group.resolve_transfers(transfers, allow_partial=True, allow_missing_kv=True)
        if not wanted or rid in self._queued:
            return False
        try:
            pages = [self._wanted(each) for each in wanted]
        except PageError:
            # The same on every rank: indices are the scheduler's.
            return False
        with self._lock:
            found = self._found.pop(rid, None)
        self._queued[rid] = _Load(pages, found)
        return True

    def _wanted(self, transfer: PoolTransfer) -> _Wanted:
        pool = self._pools[name_of(transfer.name)]
        keys = list(transfer.keys or ())
        return _Wanted(pool, pack(keys), pool.pages.starts(transfer.host_indices, len(keys)))

    def cancel_queued_load(self, rid: str) -> bool:
        """Takes a request out of the next batch."""
        load = self._queued.pop(rid, None)
        if load is not None and load.found is not None:
            self._give_back(load.found.leases)
        return load is not None

    def start_layer_wise_loading(self) -> int:
        """Starts what is queued; the batch's index for the counter, -1 when nothing is queued."""
        if not self._queued:
            return -1
        queued, self._queued = self._queued, {}
        index: int = self.layer_done_counter.update_producer()
        # Pages may still be read by what runs on this stream.
        ready = get_device_module().Event()
        ready.record()
        self._loads.put((index, list(queued.values()), ready))
        return index

    def finish_layer_wise_loading(self, counter_index: int) -> bool:
        """Waits until a batch has stopped writing; True when all of it is there."""
        landed: bool = self.layer_done_counter.finish(counter_index)
        return landed

    def _load(self, task: tuple[int, list[_Load], Any]) -> None:
        index, loads, ready = task
        count = sum(len(wanted.starts) for load in loads for wanted in load.wanted)
        deadline_ms = self._options.load_deadline_ms * max(1, -(-count // _BATCH_PAGES))

        def work(deadline: Deadline) -> bool:
            ready.synchronize()
            with self._client.transfer.loads_first():
                self._load_layers(index, loads, deadline)
            return True

        try:
            self._bounded("linker_load", deadline_ms, work, False, leased=True)
        finally:
            # Only of layers that are not there.
            self.layer_done_counter.fail(index, RuntimeError("pages were not loaded"))
            for load in loads:
                if load.found is not None:
                    self._give_back(load.found.leases)

    def _load_layers(self, index: int, loads: list[_Load], deadline: Deadline) -> None:
        """Loads layer by layer, and says so of each.

        Raises:
            PagesGoneError: the rest is not there.
        """
        begin = time.monotonic()
        wanted = [(load.found, each) for load in loads for each in load.wanted]
        asked: list[Lease] = []
        arrived = False
        try:
            parts = [(each, self._leased(found, each, asked, deadline)) for found, each in wanted]
            for layers in self._layer_groups(parts):
                for each, lease in parts:
                    self._copy(each, lease, layers, deadline)
                for layer in layers:
                    self.layer_done_counter.complete(index, layer)
            arrived = True
        finally:
            for lease in asked:
                self._client.transfer.give_back(lease)
            for _, each in wanted:
                pages, seconds = len(each.starts), time.monotonic() - begin
                self._client.transfer.count_loaded(
                    "linker_load", each.pool.place, pages if arrived else 0, 0 if arrived else pages, seconds
                )

    def _leased(self, found: _Found | None, wanted: _Wanted, asked: list[Lease], deadline: Deadline) -> Lease:
        lease = found.part(wanted) if found is not None else None
        if lease is None:
            # The question was too long ago, or the node was restarted since: it is asked once more.
            lease = self._client.transfer.lease(wanted.pool.place, wanted.keys, deadline, sparse=True)
            asked.append(lease)
        if not _hits(lease, len(wanted.starts)).all():
            raise PagesGoneError(f"pages of pool {wanted.pool.name} that were found are gone")
        return lease

    def _copy(self, wanted: _Wanted, lease: Lease, layers: list[int], deadline: Deadline) -> None:
        pieces = wanted.pool.pages.layers(wanted.starts, layers)
        if not len(pieces.object):
            return
        client = wanted.pool.place.connection.client
        verify = self._options.verify and layers[0] == 0
        if not client.load(lease, pieces, verify=verify, deadline=deadline).loaded.all():
            raise PagesGoneError(f"layers {layers[0]} to {layers[-1]} of pool {wanted.pool.name} did not arrive")

    def _layer_groups(self, parts: list[tuple[_Wanted, Lease]]) -> list[list[int]]:
        groups: list[list[int]] = []
        size = GROUP_BYTES
        for layer in range(self._group.num_layers):
            if size >= GROUP_BYTES:
                groups.append([])
                size = 0
            groups[-1].append(layer)
            size += sum(wanted.pool.pages.layer_bytes[layer] * len(wanted.starts) for wanted, _ in parts)
        return groups

    # ---- storing

    def offload(self, transfers: list[PoolTransfer], session_id: str | None = None) -> bool:
        """Queues pages to be stored once the engine has written them. Results come in this order."""
        del session_id
        wanted = self._group.resolve_transfers(transfers, allow_partial=True)
        if not wanted:
            return False
        if not self._stores:
            # Another rank stores the same bytes.
            self._results.put(True)
            return True
        self._offloads.put((wanted, self.record_offload_ready()))
        return True

    def _offload(self, task: tuple[list[PoolTransfer], list[Any]]) -> None:
        transfers, ready = task
        done = False
        try:
            for event in ready:
                event.synchronize()
            done = all(self._store(transfer) for transfer in transfers)
        finally:
            self._results.put(done)

    def _store(self, transfer: PoolTransfer) -> bool:
        count = len(transfer.keys or ())
        stored = np.zeros(count, dtype=bool)

        def work(deadline: Deadline) -> Bools:
            wanted = self._wanted(transfer)
            return self._client.transfer.store(
                "linker_offload", wanted.pool.place, wanted.keys,
                lambda first, end: wanted.pool.pages.source(wanted.starts[first:end]), NO_PARENT, stored, deadline,
            )  # fmt: skip

        deadline_ms = self._options.store_deadline_ms * max(1, -(-count // _BATCH_PAGES))
        return bool(self._bounded("linker_offload", deadline_ms, work, stored).all())

    def num_completed_offloads(self) -> int:
        """Offloads that have ended and were not asked for."""
        return self._results.qsize()

    def pop_completed_offload(self) -> bool:
        """Whether the oldest of them stored everything."""
        return self._results.get_nowait()

    # ---- the rest

    def reset(self) -> None:
        """Waits for what runs, and forgets requests. Pages stay in the node."""
        for rid in list(self._queued):
            self.cancel_queued_load(rid)
        self._loads.drain()
        self._offloads.drain()
        for rid in list(self._found):
            self._drop(rid)
        while True:
            try:
                self._results.get_nowait()
            except Empty:
                break
        self.layer_done_counter.reset()

    def close(self) -> None:
        """Ends threads and sessions. Pages stay in the node."""
        self.reset()
        self._loads.close()
        self._offloads.close()
        self._client.close()


def _window(transfer: PoolTransfer) -> int:
    """Pages at a prefix's end that a pool needs; 0: all."""
    return max(1, len(transfer.keys or ())) if transfer.hit_policy == PoolHitPolicy.TRAILING_PAGES else 0


def _hits(lease: Lease, count: int) -> Bools:
    """Which pages are leased."""
    hits = np.zeros(count, dtype=bool)
    status = lease.slots["status"].reshape(-1)
    hits[: len(status)] = status == SlotStatus.HIT
    return hits


def _ranks(params: Any, *, replicated: bool) -> Ranks:
    """Where this rank stands.

    Raises:
        ValueError: decode context parallelism.
    """
    parallel = get_parallel()
    if parallel.attn_dcp_size > 1:
        raise ValueError("pages of decode context parallelism are not stored by the cache linker")
    rank, size = 0, int(parallel.tp_size)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        group = params.attn_tp_cache_group or params.tp_cache_group
        rank, size = torch.distributed.get_rank(group), torch.distributed.get_world_size(group)
    return Ranks(
        rank, size, params.pp_rank, params.pp_size, params.attn_cp_rank, params.attn_cp_size, replicated
    )  # fmt: skip
