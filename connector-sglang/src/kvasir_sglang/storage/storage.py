"""The class that SGLang loads: a ``HiCacheStorage`` whose pages live in a Kvasir node.

SGLang calls it from its prefetch, prefetch I/O and backup threads, which an exception ends and a long call stalls, and
with them every other rank. So each call ends by its deadline (:mod:`kvasir_sglang.shared.transfer`) with a result.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from kvasir import Deadline
from kvasir.identity import KEY_BYTES
from sglang.srt.mem_cache.hicache_storage import (
    HiCacheStorage,
    HiCacheStorageConfig,
    HiCacheStorageExtraInfo,
    PoolHitPolicy,
    PoolName,
    PoolTransfer,
    PoolTransferResult,
)
from sglang.srt.observability.metrics_collector import StorageMetrics

from kvasir_sglang.shared.identity import NO_PARENT, Ranks, pack
from kvasir_sglang.shared.metrics import logger
from kvasir_sglang.shared.pages import Bools, Destination, PageError, PoolPages, name_of
from kvasir_sglang.shared.prefixes import complete_prefixes
from kvasir_sglang.shared.rank_client import KV, RankClient
from kvasir_sglang.shared.transfer import PoolPlace
from kvasir_sglang.storage.host_pages import pages_of, tensor_pieces

#: Added to the layout of pages that come over the generic calls: SGLang flattens those itself, in an order of its own.
_FLAT_ORDER: Final = " flattened by the engine"


@dataclass(frozen=True)
class _HostPool:
    """A registered host pool."""

    pages: PoolPages
    place: PoolPlace
    generic: PoolPlace


class KvasirStorage(HiCacheStorage):  # type: ignore[misc, unused-ignore]
    """HiCache storage on the node beside the engine.

    Args:
        storage_config: SGLang's; its ``extra_config["kvasir"]`` holds our options
            (:class:`~kvasir_sglang.shared.options.EngineOptions`).
        extra_kwargs: nothing that is used.

    Raises:
        ValueError: see :class:`~kvasir_sglang.shared.rank_client.RankClient`.
    """

    def __init__(self, storage_config: HiCacheStorageConfig, extra_kwargs: dict[str, Any] | None = None) -> None:
        del extra_kwargs
        self._client = RankClient(storage_config.extra_config, Ranks.of(storage_config), storage_config.model_name)
        self._options = self._client.options
        self._ranks = self._client.ranks
        self._transfer = self._client.transfer
        self._bounded = self._transfer.bounded
        #: SGLang then loads and stores by the v1 calls, else by the generic ones.
        self._zero_copy = bool((storage_config.extra_config or {}).get("interface_v1", 0))
        self._lock = threading.Lock()
        self._pools: dict[str, _HostPool] = {}
        self._host_pools: dict[str, Any] = {}
        self._anchor_is_logical = False

    # ---- pools

    def register_mem_pool_host(self, mem_pool_host: Any) -> None:
        """Takes the anchor pool, connects, and waits a little for the node."""
        super().register_mem_pool_host(mem_pool_host)
        self._anchor_is_logical = getattr(mem_pool_host, "kv_buffer", None) is None
        if not self._anchor_is_logical:
            self._register(KV, mem_pool_host)

    def register_mem_host_pool_v2(self, host_pool: Any, host_pool_name: Any) -> None:
        """Takes a side pool of a hybrid model, or the anchor once more."""
        super().register_mem_host_pool_v2(host_pool, host_pool_name)
        name = name_of(host_pool_name)
        logical = name == KV and getattr(host_pool, "kv_buffer", None) is None
        if not logical and self._host_pools.get(name) is not host_pool:
            self._register(name, host_pool)

    def _register(self, name: str, pool: Any) -> None:
        try:
            pages = pages_of(pool)
        except PageError as error:
            logger.error("pages of pool %s are not stored: %s", name, error)
            return
        placed = self._placed(name, pages)
        with self._lock:
            self._host_pools[name] = pool
            self._pools[name] = placed
        self._client.open(placed.place)

    def _placed(self, name: str, pages: PoolPages) -> _HostPool:
        split = self._ranks.is_split(name, pages.pool)
        tokens = int(getattr(self, "mem_pool_host", pages.pool).page_size)
        return _HostPool(
            pages,
            self._client.place(name, pages, tokens, split=split),
            self._client.place(name, pages, tokens, split=split, order=_FLAT_ORDER),
        )

    def _pool(self, name: Any) -> _HostPool:
        pool = self._pools.get(name_of(name))
        if pool is None:
            raise PageError(f"pool {name_of(name)} is not registered")
        return pool

    # ---- zero-copy calls

    def batch_exists(self, keys: list[str], extra_info: HiCacheStorageExtraInfo | None = None) -> int:
        """How many leading pages there are; one round trip."""
        del extra_info
        if not keys or self._anchor_is_logical:
            return len(keys) if self._anchor_is_logical else 0

        def ask(deadline: Deadline) -> int:
            pool = self._pool(KV)
            return self._transfer.leading(pool.place if self._zero_copy else pool.generic, pack(keys), deadline)

        return self._bounded("batch_exists", self._options.exists_deadline_ms, ask, 0)

    def batch_get_v1(
        self, keys: list[str], host_indices: Any, extra_info: HiCacheStorageExtraInfo | None = None
    ) -> list[bool]:
        """Loads pages into the anchor pool. After the first page that is missing all are False, as SGLang uses none."""
        del extra_info
        return [True] * len(keys) if self._anchor_is_logical else self._get("batch_get_v1", KV, keys, host_indices)

    def batch_set_v1(
        self, keys: list[str], host_indices: Any, extra_info: HiCacheStorageExtraInfo | None = None
    ) -> list[bool]:
        """Stores pages of the anchor pool. True also for a page that is there already, or just being stored."""
        if self._anchor_is_logical:
            return [True] * len(keys)
        return self._set("batch_set_v1", KV, keys, host_indices, extra_info)

    def _get(self, call: str, name: Any, keys: list[str], host_indices: Any) -> list[bool]:
        nothing = np.zeros(len(keys), dtype=bool)

        def load(deadline: Deadline) -> Bools:
            pool = self._pool(name)
            to = pool.pages.destination(pool.pages.starts(host_indices, len(keys)))
            return self._transfer.load(call, pool.place, pack(keys), to, deadline)

        return _list(self._bounded(call, self._options.load_deadline_ms, load, nothing) if keys else nothing)

    def _set(
        self, call: str, name: Any, keys: list[str], host_indices: Any, extra_info: HiCacheStorageExtraInfo | None
    ) -> list[bool]:
        stored = np.zeros(len(keys), dtype=bool)

        def store(deadline: Deadline) -> Bools:
            pool = self._pool(name)
            starts = pool.pages.starts(host_indices, len(keys))
            return self._transfer.store(
                call, pool.place, pack(keys), lambda first, end: pool.pages.source(starts[first:end]),
                _parent(extra_info), stored, deadline,
            )  # fmt: skip

        return _list(self._bounded(call, self._options.store_deadline_ms, store, stored) if keys else stored)

    # ---- calls for side pools

    def batch_exists_v2(
        self,
        keys: list[str],
        pool_transfers: list[PoolTransfer] | None = None,
        extra_info: HiCacheStorageExtraInfo | None = None,
    ) -> PoolTransferResult:
        """The longest prefix of which every pool has what its policy needs; one round trip for each pool."""
        pages = self.batch_exists(keys, extra_info)
        hits: dict[Any, int] = {PoolName.KV: pages} if pages else {}
        restorable = np.ones(pages, dtype=bool)  # [n - 1]: a prefix of n pages can be restored
        packed = pack(keys[:pages])
        for transfer in pool_transfers or ():
            if not restorable.any() or transfer.hit_policy == PoolHitPolicy.BLOCK_GROUPS:
                # Groups of blocks never gate a hit; a pool that is not reported carries no verdict.
                continue
            there = self._there(transfer.name, packed)
            window = 0
            if transfer.hit_policy == PoolHitPolicy.TRAILING_PAGES:
                window = max(1, len(transfer.keys or ()))
            ends = complete_prefixes(there, window)
            if ends.any():
                hits[transfer.name] = int(np.flatnonzero(ends)[-1]) + 1
            restorable &= ends
        lengths = (np.flatnonzero(restorable) + 1).tolist()
        return PoolTransferResult(lengths[-1] if lengths else 0, hits, lengths)

    def _there(self, name: Any, packed: bytes) -> Bools:
        nothing = np.zeros(len(packed) // KEY_BYTES, dtype=bool)

        def ask(deadline: Deadline) -> Bools:
            return self._transfer.each(self._pool(name).place, packed, deadline)

        return self._bounded("batch_exists_v2", self._options.exists_deadline_ms, ask, nothing)

    def batch_get_v2(
        self, transfers: list[PoolTransfer], extra_info: HiCacheStorageExtraInfo | None = None
    ) -> dict[str, list[bool]]:
        """Loads pages of side pools, one pool after the other."""
        del extra_info
        return {
            each.name: self._get("batch_get_v2", each.name, each.keys or [], each.host_indices) for each in transfers
        }

    def batch_set_v2(
        self, transfers: list[PoolTransfer], extra_info: HiCacheStorageExtraInfo | None = None
    ) -> dict[str, list[bool]]:
        """Stores pages of side pools, one pool after the other."""
        return {
            each.name: self._set("batch_set_v2", each.name, each.keys or [], each.host_indices, extra_info)
            for each in transfers
        }

    # ---- generic calls, which SGLang uses without ``interface_v1``: flat pages in tensors of the engine

    def get(self, key: str, target_location: Any = None, target_sizes: Any = None) -> Any:
        """One flat page, in ``target_location`` or in a new tensor of bytes; None when it is not there."""
        del target_sizes
        return self._batch_get("get", [key], [target_location])[0]

    def batch_get(self, keys: list[str], target_locations: Any = None, target_sizes: Any = None) -> list[Any]:
        """Flat pages, each one on its own."""
        del target_sizes
        return self._batch_get("batch_get", keys, list(target_locations or [None] * len(keys)))

    def _batch_get(self, call: str, keys: list[str], targets: list[Any]) -> list[Any]:
        nothing: list[Any] = [None] * len(keys)

        def load(deadline: Deadline) -> list[Any]:
            import torch

            place = self._pool(KV).generic
            if len(targets) != len(keys):
                raise PageError(f"{len(targets)} targets for {len(keys)} keys")
            into = [torch.empty(place.page_bytes, dtype=torch.uint8) if to is None else to for to in targets]
            pieces = tensor_pieces(into)
            if (pieces.length != place.page_bytes).any():
                raise PageError(f"a target is not of a page's {place.page_bytes} bytes")
            loaded = self._transfer.load(call, place, pack(keys), Destination(pieces), deadline, sparse=True)
            return [to if done else None for to, done in zip(into, loaded.tolist(), strict=True)]

        return self._bounded(call, self._options.load_deadline_ms, load, nothing) if keys else nothing

    def set(self, key: str, value: Any = None, target_location: Any = None, target_sizes: Any = None) -> bool:
        """Stores one flat page."""
        del target_sizes
        return self._batch_set("set", [key], [value if value is not None else target_location])

    def batch_set(
        self, keys: list[str], values: Any = None, target_locations: Any = None, target_sizes: Any = None
    ) -> bool:
        """Stores flat pages; True when all of them are there afterwards."""
        del target_sizes
        values = values if values is not None else target_locations
        return self._batch_set("batch_set", keys, list(values if values is not None else []))

    def _batch_set(self, call: str, keys: list[str], values: list[Any]) -> bool:
        stored = np.zeros(len(keys), dtype=bool)

        def store(deadline: Deadline) -> Bools:
            place = self._pool(KV).generic
            if len(values) != len(keys) or any(value is None for value in values):
                raise PageError(f"{len(values)} pages for {len(keys)} keys")
            flat = [value.contiguous() for value in values]
            if (tensor_pieces(flat).length != place.page_bytes).any():
                raise PageError(f"a flat page is not of {place.page_bytes} bytes")
            return self._transfer.store(
                call, place, pack(keys), lambda first, end: (tensor_pieces(flat[first:end]), flat),
                NO_PARENT, stored, deadline,
            )  # fmt: skip

        return bool(self._bounded(call, self._options.store_deadline_ms, store, stored).all()) if keys else True

    def exists(self, key: str) -> bool:
        """Whether a flat page is there."""

        def ask(deadline: Deadline) -> int:
            return self._transfer.leading(self._pool(KV).generic, pack([key]), deadline)

        return bool(self._bounded("exists", self._options.exists_deadline_ms, ask, 0))

    # ---- the rest

    def clear(self) -> None:
        """Forgets, for this engine and until it ends, what was stored before; other engines keep their pages."""
        self._client.forget()
        for name, pool in list(self._pools.items()):
            self._pools[name] = self._placed(name, pool.pages)

    def get_stats(self) -> StorageMetrics:
        """Pages and GB/s of the batches since the last time; SGLang exposes them with its metrics."""
        stats = StorageMetrics()
        stats.prefetch_pgs, stats.prefetch_bandwidth = self._transfer.loads.take()
        stats.backup_pgs, stats.backup_bandwidth = self._transfer.stores.take()
        return stats

    def close(self) -> None:
        """Ends this rank's sessions; SGLang calls it when it detaches. Pages stay in the node."""
        self._client.close()


def _list(done: Bools) -> list[bool]:
    result: list[bool] = done.tolist()
    return result


def _parent(extra_info: HiCacheStorageExtraInfo | None) -> bytes:
    """The key of the page before a batch, where SGLang passes it (``hicache_storage_pass_prefix_keys``)."""
    prefix: Sequence[str] | None = getattr(extra_info, "prefix_keys", None)
    return pack(prefix[-1:]) if prefix else NO_PARENT
