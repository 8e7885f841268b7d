"""SGLang's real controller for hybrid models: an anchor pool with side pools, all of them on the CPU."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed
from controller import BOUND_SECONDS, PAGE, bytes_of, device_pool, hashes, host_pool
from sglang.srt.mem_cache.device_pool_info import MambaStateBufferInfo
from sglang.srt.mem_cache.hicache_storage import PoolHitPolicy, PoolName, PoolTransfer
from sglang.srt.mem_cache.hybrid_cache.hybrid_cache_controller import HybridCacheController
from sglang.srt.mem_cache.pool_host.group import HostPoolGroup, PoolEntry
from sglang.srt.mem_cache.pool_host.mamba import MambaPoolHost


class _Allocator:
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def get_kvcache(self) -> Any:
        return self._pool


class _Handle:
    """What identifies a request."""

    def __init__(self) -> None:
        self.rid = f"request {random.getrandbits(32)}"


def mamba_pool(slots: int = 16) -> Any:
    """Mamba states of two layers: one temporal and two convolution states each."""
    temporal = torch.zeros(2, slots, 4, 8, dtype=torch.float32)
    conv = tuple(torch.zeros(2, slots, 6, width, dtype=torch.bfloat16) for width in (3, 3))
    info = MambaStateBufferInfo(temporal=temporal, conv=conv)
    return MambaPoolHost(info, 1.0, 0, device_capacity=slots, pin_memory=False, layout="page_first")


class HybridEngine:
    """An anchor, a pool that shares its indices (as an indexer does), and Mamba states."""

    def __init__(self, socket: str, layout: str = "page_first", **options: Any) -> None:
        device = device_pool()
        self.kv = host_pool(device, layout)
        self.indexer = host_pool(device_pool(heads=1), layout)
        self.mamba = mamba_pool()
        self.pools = {PoolName.KV: self.kv, PoolName.INDEXER: self.indexer, PoolName.MAMBA: self.mamba}
        entries = [
            PoolEntry(name, pool, device, lambda layer: layer, is_primary_index_anchor=name == PoolName.KV)
            for name, pool in self.pools.items()
        ]
        self.controller = HybridCacheController(
            _Allocator(device),
            HostPoolGroup(entries),
            PAGE,
            tp_group=torch.distributed.group.WORLD,
            load_cache_event=None,
            attn_tp_group=torch.distributed.group.WORLD,
            io_backend="direct",
            storage_backend="dynamic",
            model_name="hybrid",
            storage_backend_extra_config={
                "backend_name": "kvasir",
                "module_path": "kvasir_sglang.storage",
                "class_name": "KvasirStorage",
                "interface_v1": 1,
                "kvasir": {"socket": socket, "model": "hybrid"} | options,
            },
        )

    def _fill(self, pool: Any, indices: Any) -> list[bytes]:
        for start in indices.tolist()[:: pool.page_size]:
            raw = pool.get_dummy_flat_data_page()
            raw.view(torch.uint8).copy_(torch.randint(0, 256, (raw.view(torch.uint8).numel(),), dtype=torch.uint8))
            pool.set_from_flat_data_page(start, raw)
        return bytes_of(pool, indices)

    def backup(self, prompt: Sequence[int], *, with_state: bool = True) -> tuple[Any, dict[Any, list[bytes]]]:
        """Stores a prompt's pages in all pools; the state of its end only ``with_state``."""
        keys = hashes(prompt)
        indices = self.kv.alloc(len(prompt))
        state = self.mamba.alloc(1)
        wanted = {PoolName.KV: self._fill(self.kv, indices), PoolName.INDEXER: self._fill(self.indexer, indices)}
        transfers = [PoolTransfer(PoolName.INDEXER, indices_from_pool=PoolName.KV)]
        if with_state:
            wanted[PoolName.MAMBA] = self._fill(self.mamba, state)
            transfers.append(
                PoolTransfer(
                    PoolName.MAMBA, host_indices=state, keys=keys[-1:], hit_policy=PoolHitPolicy.TRAILING_PAGES
                )
            )
        self.controller.write_storage(indices, list(prompt), hash_value=keys, extra_pools=transfers)
        done = self.controller.ack_backup_queue.get(timeout=BOUND_SECONDS)
        self.kv.free(indices)
        self.mamba.free(state)
        return done, wanted

    def prefetch(self, prompt: Sequence[int]) -> tuple[Any, dict[Any, list[bytes]]]:
        """Asks for a prompt and loads what is there: the operation, and the bytes by pool."""
        state = self.mamba.alloc(1)
        transfers = [
            PoolTransfer(PoolName.INDEXER, indices_from_pool=PoolName.KV),
            PoolTransfer(
                PoolName.MAMBA,
                host_indices=state,
                keys=hashes(prompt)[-1:],
                hit_policy=PoolHitPolicy.TRAILING_PAGES,
            ),
        ]
        self.controller.prefetch(_Handle(), list(prompt), extra_pools=transfers)
        operation = self.controller.prefetch_hit_queue.get(timeout=BOUND_SECONDS)
        found: dict[Any, list[bytes]] = {}
        if operation.storage_hit_count:
            indices = self.controller.alloc_prefetch_host_buffers(operation, operation.storage_hit_count)
            operation.host_indices = indices
            self.controller.prefetch_buffer.put(operation)
            completed = 0
            hits: dict[str, int] = {}
            end = time.monotonic() + BOUND_SECONDS
            while True:
                ack = self.controller.ack_prefetch_queue.get(timeout=max(0.0, end - time.monotonic()))
                completed = max(completed, ack.completed_tokens or 0)
                hits.update(ack.pool_hits or {})
                if ack.completed_req:
                    break
            found = {pool: bytes_of(self.pools[pool], indices[:completed]) for pool in (PoolName.KV, PoolName.INDEXER)}
            if hits.get(PoolName.MAMBA.value):
                found[PoolName.MAMBA] = bytes_of(self.mamba, state)
            self.kv.free(indices)
        self.mamba.free(state)
        return operation, found

    def close(self) -> None:
        self.controller.detach_storage_backend()
