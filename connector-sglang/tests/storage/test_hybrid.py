"""Hybrid models: SGLang's own controller stores and loads side pools through the v2 calls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kvasir_ops.testing import Node, until

pytestmark = [pytest.mark.engine, pytest.mark.integration]

pytest.importorskip("sglang", reason="runs in the environment of ./kvasir test --engines")

import torch
from controller import MHA_LAYOUTS, PAGE, hashes, parallel, tokens
from hybrid import HybridEngine
from sglang.srt.mem_cache.hicache_storage import PoolHitPolicy, PoolName, PoolTransfer


@pytest.fixture(autouse=True, scope="module")
def one_rank() -> None:
    parallel()


@pytest.fixture
def engine(node: Node) -> Iterator[HybridEngine]:
    engine = HybridEngine(node.socket)
    yield engine
    engine.close()


@pytest.mark.parametrize("layout", MHA_LAYOUTS)
def test_all_pools_come_back_byte_for_byte(node: Node, layout: str) -> None:
    engine, prompt = HybridEngine(node.socket, layout), tokens(6)
    done, wanted = engine.backup(prompt)
    assert done.completed_tokens == len(prompt)
    operation, found = engine.prefetch(prompt)
    assert operation.storage_hit_count == len(prompt)
    assert found == wanted
    engine.close()


def test_side_pools_are_misses_while_the_node_is_away_and_whole_afterwards(own_node: Node) -> None:
    engine, prompt = HybridEngine(own_node.socket, load_deadline_ms=2000, store_deadline_ms=2000), tokens(6)
    _, wanted = engine.backup(prompt)
    own_node.kill()
    operation, found = engine.prefetch(prompt)
    assert operation.storage_hit_count == 0
    assert not found
    done, _ = engine.backup(tokens(2))
    assert done.completed_tokens == 0
    own_node.start()
    until(lambda: engine.prefetch(prompt)[1] == wanted, "all pools come back")
    engine.close()


def test_without_a_state_at_its_end_a_prefix_cannot_be_restored(engine: HybridEngine) -> None:
    prompt = tokens(6)
    engine.backup(prompt, with_state=False)
    operation, found = engine.prefetch(prompt)
    assert operation.storage_hit_count == 0
    assert not found


def test_the_prefix_ends_where_the_last_state_is(engine: HybridEngine) -> None:
    prompt = tokens(6)
    engine.backup(prompt, with_state=False)
    _, wanted = engine.backup(prompt[: 4 * PAGE])
    operation, found = engine.prefetch(prompt)
    assert operation.storage_hit_count == 4 * PAGE
    assert found[PoolName.MAMBA] == wanted[PoolName.MAMBA]
    assert len(found[PoolName.KV]) == 4
    assert operation.pool_storage_result.restorable_prefix_pages == [4]


def test_a_page_missing_in_a_pool_that_needs_all_ends_the_prefix(engine: HybridEngine) -> None:
    storage, keys = engine.controller.storage_backend, hashes(tokens(5))
    whole = torch.arange(5 * PAGE)
    assert all(storage.batch_set_v1(keys, whole))
    indexed = PoolTransfer(PoolName.INDEXER, host_indices=whole[: 3 * PAGE], keys=keys[:3])
    assert storage.batch_set_v2([indexed]) == {PoolName.INDEXER: [True] * 3}
    result = storage.batch_exists_v2(keys, [PoolTransfer(PoolName.INDEXER)])
    assert result.kv_hit_pages == 3
    assert result.extra_pool_hit_pages == {PoolName.KV: 5, PoolName.INDEXER: 3}
    assert result.restorable_prefix_pages == [1, 2, 3]


def test_a_trailing_window_needs_its_last_pages_only(engine: HybridEngine) -> None:
    storage, keys = engine.controller.storage_backend, hashes(tokens(6))
    whole = torch.arange(6 * PAGE)
    assert all(storage.batch_set_v1(keys, whole))
    window = PoolTransfer(PoolName.INDEXER, host_indices=whole[2 * PAGE : 5 * PAGE], keys=keys[2:5])
    storage.batch_set_v2([window])
    asked = PoolTransfer(PoolName.INDEXER, keys=keys[-2:], hit_policy=PoolHitPolicy.TRAILING_PAGES)
    assert storage.batch_exists_v2(keys, [asked]).restorable_prefix_pages == [4, 5]


def test_a_pool_that_nobody_registered_is_a_miss(engine: HybridEngine) -> None:
    storage, keys = engine.controller.storage_backend, hashes(tokens(2))
    unknown = PoolTransfer(PoolName.SWA, host_indices=torch.arange(2 * PAGE), keys=keys)
    assert storage.batch_set_v2([unknown]) == {PoolName.SWA: [False, False]}
    assert storage.batch_get_v2([unknown]) == {PoolName.SWA: [False, False]}
