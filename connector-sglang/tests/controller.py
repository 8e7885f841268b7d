"""SGLang's real HiCache controller, host pools and backend factory on the CPU; the tests play its scheduler.

On a machine without a GPU nothing copies between device and host pool, so the tests write the host pool's pages
themselves. Everything between the host pool and the storage is SGLang's own code, in its own threads.
"""

from __future__ import annotations

import os
import queue
import random
import tempfile
import time
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed
from sglang.srt.managers.cache_controller import HiCacheController
from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool, MLATokenToKVPool
from sglang.srt.mem_cache.pool_host import base
from sglang.srt.mem_cache.pool_host.mha import MHATokenToKVPoolHost
from sglang.srt.mem_cache.pool_host.mla import MLATokenToKVPoolHost
from sglang.srt.mem_cache.utils import get_storage_hash_str
from sglang.srt.runtime_context import get_parallel

# SGLang keeps 10 GiB of a machine free, more than these tests' machines may have.
base.HICACHE_HOST_MEMORY_RESERVE_BYTES = 0

PAGE = 64
LAYERS = 4
MHA_LAYOUTS = ("layer_first", "page_first", "page_first_direct", "page_head")
MLA_LAYOUTS = ("layer_first", "page_first", "page_first_direct")
BOUND_SECONDS = 30.0


def parallel(rank: int = 0, size: int = 1) -> None:
    """Says where this process stands, without a GPU's process groups."""
    if not torch.distributed.is_initialized():
        store = os.environ.get("KVASIR_TEST_STORE") or tempfile.mktemp(prefix="kvasir-sglang-gloo-")
        torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
    get_parallel().override_permanently(
        attn_dcp_size=1,
        attn_dcp_rank=0,
        tp_rank=rank,
        tp_size=size,
        pp_rank=0,
        pp_size=1,
        attn_tp_rank=rank,
        attn_tp_size=size,
        moe_tp_rank=rank,
        moe_tp_size=size,
    )


def device_pool(*, mla: bool = False, page: int = PAGE, heads: int = 2, dtype: torch.dtype = torch.bfloat16) -> Any:
    """A device pool whose device is the CPU."""
    if mla:
        return MLATokenToKVPool(4 * page, page, dtype, 64, 16, LAYERS, "cpu", False)
    return MHATokenToKVPool(4 * page, page, dtype, heads, 32, LAYERS, "cpu", False)


def host_pool(device: Any, layout: str, *, page: int = PAGE, pages: int = 48) -> Any:
    """The host pool of a device pool, of ``pages`` pages, filled with random bytes."""
    info = device.get_device_pool_infos()[0].buffer_info
    arguments = {
        "host_to_device_ratio": 1.0,
        "host_size": 0,
        "page_size": page,
        "layout": layout,
        "pin_memory": False,
        "device_capacity_tokens": device.size,
        "start_layer": device.start_layer,
        "end_layer": device.end_layer,
        "host_token_capacity": pages * page,
    }
    if isinstance(device, MLATokenToKVPool):
        pool = MLATokenToKVPoolHost(
            info, target_layer_num=device.layer_num, override_kv_cache_dim=device.kv_cache_dim, **arguments
        )
    else:
        pool = MHATokenToKVPoolHost(info, **arguments)
    scramble(pool)
    return pool


def scramble(pool: Any) -> None:
    """Other random bytes everywhere."""
    flat = pool.kv_buffer.view(torch.uint8).reshape(-1)
    flat.copy_(torch.from_numpy(np.random.default_rng(random.getrandbits(32)).integers(0, 256, len(flat), np.uint8)))


def bytes_of(pool: Any, indices: Any) -> list[bytes]:
    """The bytes of each page that the indices name, as SGLang itself flattens it."""
    starts = indices.tolist()[:: pool.page_size]
    return [pool.get_data_page(start).contiguous().view(torch.uint8).numpy().tobytes() for start in starts]


def tokens(pages: int, page: int = PAGE) -> array[int]:
    """Random tokens of whole pages, a prompt that nobody else has."""
    return array("q", (random.getrandbits(31) for _ in range(pages * page)))


def hashes(prompt: Sequence[int], page: int = PAGE) -> list[str]:
    """SGLang's page hashes."""
    found: list[str] = get_storage_hash_str(prompt, None, page_size=page)
    return found


class _Allocator:
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def get_kvcache(self) -> Any:
        return self._pool


class Engine:
    """One rank: controller, pools, and the backend under test."""

    def __init__(
        self,
        socket: str,
        layout: str = "page_first",
        *,
        mla: bool = False,
        interface_v1: int = 1,
        page: int = PAGE,
        pages: int = 48,
        model: str = "test-model",
        backend: str = "dynamic",
        **options: Any,
    ) -> None:
        self.page = page
        device = device_pool(mla=mla, page=page)
        self.pool = host_pool(device, layout, page=page, pages=pages)
        self.extra_config = {
            "backend_name": "kvasir",
            "module_path": "kvasir_sglang.storage",
            "class_name": "KvasirStorage",
            "interface_v1": interface_v1,
            "kvasir": {"socket": socket, "model": model} | options,
        }
        self.controller = HiCacheController(
            _Allocator(device),
            self.pool,
            page,
            tp_group=torch.distributed.group.WORLD,
            load_cache_event=None,
            attn_tp_group=torch.distributed.group.WORLD,
            io_backend="direct",
            storage_backend=backend,
            model_name=model,
            storage_backend_extra_config=dict(self.extra_config),
        )

    @property
    def storage(self) -> Any:
        return self.controller.storage_backend

    def threads(self) -> list[Any]:
        """SGLang's four storage threads."""
        controller = self.controller
        return [
            controller.prefetch_thread,
            controller.prefetch_io_aux_thread,
            controller.prefetch_sync_thread,
            controller.backup_thread,
        ]

    def backup(self, prompt: Sequence[int]) -> tuple[int, list[bytes]]:
        """Stores the pages of a prompt from random bytes: tokens that SGLang counts as stored, and the bytes."""
        indices = self.pool.alloc(len(prompt))
        assert indices is not None, "the host pool is too small for this test"
        self._fill(indices)
        wanted = bytes_of(self.pool, indices)
        self.controller.write_storage(indices, prompt, hash_value=hashes(prompt, self.page))
        done = self.controller.ack_backup_queue.get(timeout=BOUND_SECONDS)
        self.pool.free(indices)
        return done.completed_tokens, wanted

    def _fill(self, indices: Any) -> None:
        generator = np.random.default_rng(random.getrandbits(32))
        for start in indices.tolist()[:: self.page]:
            flat = self.pool.get_dummy_flat_data_page()
            raw = flat.view(torch.uint8)
            raw.copy_(torch.from_numpy(generator.integers(0, 256, raw.numel(), np.uint8)))
            self.pool.set_from_flat_data_page(start, flat)

    def query(self, prompt: Any) -> Any:
        """The operation once SGLang has asked the storage; ``storage_hit_count`` tokens are there."""
        self.controller.prefetch(f"request {random.getrandbits(32)}", prompt)
        return self.controller.prefetch_hit_queue.get(timeout=BOUND_SECONDS)

    def fetch(self, operation: Any) -> list[bytes]:
        """Loads what a query found; the bytes of the pages that SGLang counts as loaded."""
        if not operation.storage_hit_count:
            return []
        indices = self.controller.alloc_prefetch_host_buffers(operation, operation.storage_hit_count)
        assert indices is not None, "the host pool is too small for this test"
        operation.host_indices = indices
        self.controller.prefetch_buffer.put(operation)
        completed = 0
        end = time.monotonic() + BOUND_SECONDS
        while True:
            try:
                ack = self.controller.ack_prefetch_queue.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError("SGLang's prefetch threads do not answer") from None
            completed = max(completed, ack.completed_tokens or 0)
            if ack.completed_req:
                break
        loaded = bytes_of(self.pool, indices[:completed])
        self.pool.free(indices)
        return loaded

    def prefetch(self, prompt: Sequence[int]) -> list[bytes]:
        """Query and fetch."""
        return self.fetch(self.query(prompt))

    def alive(self) -> bool:
        """Whether the controller's threads are."""
        return all(thread.is_alive() for thread in self.threads())

    def close(self) -> None:
        self.controller.detach_storage_backend()
