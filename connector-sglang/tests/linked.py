"""SGLang's real radix cache with the cache linker, on the CPU; the tests play its scheduler and its forward pass.

Pools, allocator, tree, the tree's side of the linker, the factory that makes linkers and the counter of layers are
SGLang's own. The forward pass is a test that writes random bytes into the slots of a request.
"""

from __future__ import annotations

import random
import time
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed
from controller import BOUND_SECONDS, LAYERS, PAGE
from sglang.srt.managers.schedule_batch import Req
from sglang.srt.mem_cache.allocator.paged import PagedTokenToKVPoolAllocator
from sglang.srt.mem_cache.base_prefix_cache import InitLoadBackParams, InsertParams, MatchPrefixParams
from sglang.srt.mem_cache.cache_init_params import CacheInitParams
from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool, MLATokenToKVPool, ReqToTokenPool
from sglang.srt.mem_cache.radix_cache import RadixKey
from sglang.srt.mem_cache.unified_cache.component_type import ComponentType
from sglang.srt.mem_cache.unified_cache.linker_factory import create_unified_cache_linker
from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache
from sglang.srt.sampling.sampling_params import SamplingParams
from sglang.srt.server_args import ServerArgs, set_global_server_args_for_scheduler


class LinkedEngine:
    """One rank: tree, device pool, and the linker under test."""

    def __init__(
        self, socket: str, *, mla: bool = False, page: int = PAGE, pages: int = 48, model: str = "test-model",
        layers: int = LAYERS, **options: Any,
    ) -> None:  # fmt: skip
        self.page = page
        server_args = ServerArgs(model_path="dummy", page_size=page)
        set_global_server_args_for_scheduler(server_args)
        if mla:
            self.pool: Any = MLATokenToKVPool(pages * page, page, torch.bfloat16, 64, 16, layers, "cpu", False)
        else:
            self.pool = MHATokenToKVPool(pages * page, page, torch.bfloat16, 2, 32, layers, "cpu", False)
        self.allocator = PagedTokenToKVPoolAllocator(
            pages * page, page, torch.bfloat16, "cpu", self.pool, need_sort=False
        )
        params = CacheInitParams(
            disable=False,
            req_to_token_pool=ReqToTokenPool(8, pages * page, "cpu", False),
            token_to_kv_pool_allocator=self.allocator,
            page_size=page,
            tree_components=(ComponentType.FULL,),
            tree_core_backend="python",
            tp_cache_group=torch.distributed.group.WORLD,
            attn_tp_cache_group=torch.distributed.group.WORLD,
        )
        self.cache = UnifiedRadixCache(params)
        self.linker: Any = create_unified_cache_linker(
            server_args,
            params,
            backend="dynamic",
            config={
                "linker": "KvasirLinker",
                "linker_module_path": "kvasir_sglang.linker",
                "linker_extra_config": {"kvasir": {"socket": socket, "model": model} | options},
            },
            components={ComponentType.FULL},
        )
        self.cache.init_cache_linker(self.linker)
        self.pool.register_layer_transfer_counter(self.linker.layer_done_counter)
        self.scramble()

    @property
    def buffers(self) -> list[Any]:
        """The pool's buffers, in the order of an object."""
        if isinstance(self.pool, MLATokenToKVPool):
            return list(self.pool.kv_buffer)
        return [*self.pool.k_buffer, *self.pool.v_buffer]

    def scramble(self) -> None:
        """Other random bytes everywhere."""
        generator = np.random.default_rng(random.getrandbits(32))
        for buffer in self.buffers:
            raw = generator.integers(0, 256, buffer.numel() * buffer.element_size(), np.uint8)
            buffer.view(torch.uint8).reshape(-1).copy_(torch.from_numpy(raw))

    def bytes_of(self, indices: Any) -> list[bytes]:
        """The bytes of each page that the indices name."""
        rows = indices.reshape(-1, self.page)
        return [
            b"".join(buffer[page].contiguous().view(torch.uint8).numpy().tobytes() for buffer in self.buffers)
            for page in rows
        ]

    def compute(self, prompt: Sequence[int]) -> list[bytes]:
        """As if the engine had computed a prompt; its bytes by page. SGLang stores it when it enters the tree."""
        indices = self.allocator.alloc(len(prompt))
        assert indices is not None, "the pool is too small for this test"
        wanted = self.bytes_of(indices)
        self.cache.insert(InsertParams(key=RadixKey(array("q", prompt)), value=indices.clone()))
        return wanted

    def stored(self) -> bool:
        """Waits until SGLang has taken note of what was stored; False when some was not."""
        results: list[bool] = []
        commit = self.cache.linker.commit_completed_offloads

        def note(done: list[bool]) -> None:
            results.extend(done)
            commit(done)

        self.cache.linker.commit_completed_offloads = note
        end = time.monotonic() + BOUND_SECONDS
        while self.cache.linker.pending_offloads:
            assert time.monotonic() < end, "SGLang waits for an offload in vain"
            self.cache.check_hicache_events()
            time.sleep(0.001)
        self.cache.linker.commit_completed_offloads = commit
        return all(results)

    def forget(self) -> None:
        """Empties the tree, and overwrites the pool."""
        self.cache.reset()
        self.allocator.clear()
        self.scramble()

    def request(self, prompt: Sequence[int]) -> Any:
        """A request that SGLang has matched: ``host_hit_length`` tokens are in the node."""
        req = Req(
            rid=f"request {random.getrandbits(32)}",
            origin_input_text="",
            origin_input_ids=array("q", prompt),
            sampling_params=SamplingParams(temperature=0, max_new_tokens=1),
        )
        match = self.cache.match_prefix(MatchPrefixParams(key=RadixKey(array("q", prompt)), req=req))
        req.prefix_len = match.device_prefix_len
        req.last_node = match.last_device_node
        req.best_match_node = match.best_match_node
        req.host_hit_length = match.host_hit_length
        return req

    def queue(self, req: Any) -> Any:
        """Queues a request's load as SGLang does at its admission; the slots that it is loaded into."""
        loaded, _ = self.cache.init_load_back(InitLoadBackParams(req.best_match_node, req.host_hit_length, req=req))
        return self.cache.linker.private_load_indices[req.rid] if loaded else None

    def forward(self, *reqs: Any) -> list[Any]:
        """Runs a batch: waits for each layer as attention does; the requests that SGLang ends because of the load."""
        index = self.cache.ready_to_load_host_cache()
        self.linker.layer_done_counter.set_consumer(index)
        for layer in range(self.pool.layer_num):
            self.linker.layer_done_counter.wait_until(layer)
        failed: list[Any] = self.cache.finish_external_linker_loads(list(reqs))
        return failed

    def backup(self, prompt: Sequence[int]) -> tuple[int, list[bytes]]:
        """Computes a prompt, and stores it: tokens that SGLang counts as stored, and the bytes."""
        wanted = self.compute(prompt)
        stored = self.stored()
        self.forget()
        return len(prompt) if stored else 0, wanted

    def prefetch(self, prompt: Sequence[int]) -> list[bytes]:
        """Loads what is there of a prompt; the bytes of its pages, or nothing when SGLang ends the request."""
        req = self.request(prompt)
        slots = self.queue(req) if req.host_hit_length else None
        if slots is None:
            return []
        failed = self.forward(req)
        loaded = [] if failed else self.bytes_of(slots)
        self.allocator.free(slots)
        return loaded

    def alive(self) -> bool:
        """Whether the linker's threads are."""
        return bool(self.linker._loads.alive and self.linker._offloads.alive)

    def close(self) -> None:
        self.cache.linker.close()
