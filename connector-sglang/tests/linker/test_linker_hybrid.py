"""The cache linker on the pools of a hybrid model, in the view that SGLang itself makes of them: MLA and Mamba states.

SGLang's tree asks, loads and stores through the same calls that these tests make.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from kvasir_ops.testing import Node, until

pytestmark = [pytest.mark.engine, pytest.mark.integration]

pytest.importorskip("sglang", reason="runs in the environment of ./kvasir test --engines")

import torch
from controller import PAGE, hashes, parallel, tokens
from sglang.srt.configs.mamba_utils import Mamba2CacheParams, Mamba2StateShape
from sglang.srt.mem_cache.allocator.paged import PagedTokenToKVPoolAllocator
from sglang.srt.mem_cache.cache_init_params import CacheInitParams
from sglang.srt.mem_cache.hicache_storage import PoolHitPolicy, PoolName, PoolTransfer
from sglang.srt.mem_cache.memory_pool import HybridLinearKVPool, HybridReqToTokenPool
from sglang.srt.mem_cache.unified_cache.component_type import ComponentType
from sglang.srt.mem_cache.unified_cache.linker_factory import create_unified_cache_linker
from sglang.srt.server_args import ServerArgs, set_global_server_args_for_scheduler

FULL_LAYERS, MAMBA_LAYERS = [1, 3], [0, 2]
PAGES = 16


class Hybrid:
    """Pools, and the linker that SGLang's factory makes for them."""

    def __init__(self, socket: str) -> None:
        server_args = ServerArgs(model_path="dummy", page_size=PAGE)
        set_global_server_args_for_scheduler(server_args)
        shape = Mamba2StateShape.create(
            tp_world_size=1, intermediate_size=64, n_groups=1, num_heads=4, head_dim=16, state_size=8, conv_kernel=4
        )
        states = HybridReqToTokenPool(
            size=4, mamba_size=8, mamba_spec_state_size=4, max_context_len=PAGES * PAGE, device="cpu",
            enable_memory_saver=False, cache_params=Mamba2CacheParams(shape=shape, layers=MAMBA_LAYERS),
            mamba_layer_ids=MAMBA_LAYERS, enable_mamba_extra_buffer=False, speculative_num_draft_tokens=3,
        )  # fmt: skip
        pool = HybridLinearKVPool(
            PAGES * PAGE, torch.bfloat16, PAGE, 1, 80, FULL_LAYERS, "cpu", states.mamba_pool, use_mla=True,
            kv_lora_rank=64, qk_rope_head_dim=16,
        )  # fmt: skip
        params = CacheInitParams(
            disable=False,
            req_to_token_pool=states,
            token_to_kv_pool_allocator=PagedTokenToKVPoolAllocator(
                PAGES * PAGE, PAGE, torch.bfloat16, "cpu", pool, need_sort=False
            ),
            page_size=PAGE,
            tree_components=(ComponentType.FULL, ComponentType.MAMBA),
            tp_cache_group=torch.distributed.group.WORLD,
        )
        self.linker: Any = create_unified_cache_linker(
            server_args,
            params,
            backend="dynamic",
            config={
                "linker": "KvasirLinker",
                "linker_module_path": "kvasir_sglang.linker",
                "linker_extra_config": {"kvasir": {"socket": socket, "model": "hybrid"}},
            },
            components={ComponentType.FULL, ComponentType.MAMBA},
        )
        cache = states.mamba_pool.mamba_cache
        self.kv = list(pool.full_kv_pool.kv_buffer)
        self.states = [state[layer] for state in (cache.temporal, *cache.conv) for layer in range(len(MAMBA_LAYERS))]
        self.scramble()

    def scramble(self) -> None:
        generator = np.random.default_rng()
        for buffer in (*self.kv, *self.states):
            raw = generator.integers(0, 256, buffer.numel() * buffer.element_size(), np.uint8)
            buffer.copy_(torch.from_numpy(raw).view(buffer.dtype).reshape(buffer.shape))

    def pages(self, indices: Any) -> list[bytes]:
        return [b"".join(raw(buffer[rows]) for buffer in self.kv) for rows in indices.reshape(-1, PAGE)]

    def state(self, slot: int) -> bytes:
        return b"".join(raw(state[slot]) for state in self.states)

    def offload(self, keys: list[str], indices: Any, slot: int | None) -> None:
        transfers = [PoolTransfer(PoolName.KV, device_indices=indices, keys=keys)]
        if slot is not None:
            transfers.append(state_of(keys, slot))
        assert self.linker.offload(transfers)
        until(lambda: self.linker.num_completed_offloads() == 1, "the offload ends")
        assert self.linker.pop_completed_offload()

    def lookup(self, keys: list[str]) -> list[int]:
        found: list[int] = self.linker.lookup("a request", [PoolTransfer(PoolName.KV, keys=keys), state_of(keys)])
        return found

    def load(self, keys: list[str], indices: Any, slot: int) -> bool:
        transfers = [PoolTransfer(PoolName.KV, device_indices=indices, keys=keys), state_of(keys, slot)]
        assert self.linker.load("a request", transfers)
        loaded: bool = self.linker.finish_layer_wise_loading(self.linker.start_layer_wise_loading())
        return loaded


def raw(tensor: Any) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()  # type: ignore[no-any-return]


def state_of(keys: list[str], slot: int | None = None) -> PoolTransfer:
    """The state at the end of these pages."""
    return PoolTransfer(
        PoolName.MAMBA,
        device_indices=None if slot is None else torch.tensor([slot]),
        keys=keys[-1:],
        hit_policy=PoolHitPolicy.TRAILING_PAGES,
    )


@pytest.fixture
def hybrid(node: Node) -> Iterator[Hybrid]:
    parallel()
    made = Hybrid(node.socket)
    yield made
    made.linker.close()


def test_pages_and_the_state_at_their_end_come_back_byte_for_byte(hybrid: Hybrid) -> None:
    keys, there, here = hashes(tokens(5)), torch.arange(PAGE, 6 * PAGE), torch.arange(8 * PAGE, 13 * PAGE)
    wanted, state = hybrid.pages(there), hybrid.state(3)
    hybrid.offload(keys, there, 3)
    hybrid.scramble()
    assert hybrid.lookup(keys) == [5]
    assert hybrid.load(keys, here, 5)
    assert hybrid.pages(here) == wanted
    assert hybrid.state(5) == state


def test_prefixes_end_where_states_are(hybrid: Hybrid) -> None:
    keys, indices = hashes(tokens(6)), torch.arange(PAGE, 7 * PAGE)
    hybrid.offload(keys, indices, None)
    assert hybrid.lookup(keys) == []
    state = hybrid.state(1)
    hybrid.offload(keys[:2], indices[: 2 * PAGE], 1)
    hybrid.offload(keys[:4], indices[: 4 * PAGE], 2)
    until(lambda: hybrid.lookup(keys) == [2, 4], "both ends are found")
    # Ranks may agree on the shorter one.
    wanted = hybrid.pages(indices[: 2 * PAGE])
    hybrid.scramble()
    assert hybrid.load(keys[:2], indices[: 2 * PAGE], 6)
    assert hybrid.pages(indices[: 2 * PAGE]) == wanted
    assert hybrid.state(6) == state
