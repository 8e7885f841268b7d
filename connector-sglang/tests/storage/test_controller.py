"""SGLang's own controller stores and prefetches through the backend; every byte that counts as loaded is compared."""

from __future__ import annotations

import os
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kvasir_ops.testing import Node

pytestmark = [pytest.mark.engine, pytest.mark.integration]

pytest.importorskip("sglang", reason="runs in the environment of ./kvasir test --engines")

import torch
from controller import MHA_LAYOUTS, MLA_LAYOUTS, PAGE, Engine, hashes, parallel, scramble, tokens
from prometheus_client import REGISTRY
from sglang.srt.mem_cache.hicache_storage import HiCacheStorageFailureInjector
from sglang.srt.mem_cache.radix_cache import RadixKey
from sglang.srt.observability.metrics_collector import StorageMetrics

POOLS = [(layout, False) for layout in MHA_LAYOUTS] + [(layout, True) for layout in MLA_LAYOUTS]


def counted(call: str, outcome: str) -> float:
    return REGISTRY.get_sample_value("kvasir_sglang_pages_total", {"call": call, "outcome": outcome}) or 0.0


def raw(page: Any) -> bytes:
    data: bytes = page.view(torch.uint8).numpy().tobytes()
    return data


@pytest.fixture(autouse=True, scope="module")
def one_rank() -> None:
    parallel()


@pytest.fixture
def make(node: Node) -> Iterator[Any]:
    engines: list[Engine] = []

    def make(*arguments: Any, **options: Any) -> Engine:
        engines.append(Engine(node.socket, *arguments, **options))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.mark.parametrize("interface_v1", [1, 0])
@pytest.mark.parametrize(("layout", "mla"), POOLS)
def test_pages_come_back_byte_for_byte(make: Any, layout: str, mla: bool, interface_v1: int) -> None:
    engine = make(layout, mla=mla, interface_v1=interface_v1)
    prompt = tokens(10)
    stored, wanted = engine.backup(prompt)
    assert stored == len(prompt)
    scramble(engine.pool)
    assert engine.prefetch(prompt) == wanted


def test_a_prompt_of_several_batches_is_stored_and_loaded_whole(make: Any) -> None:
    engine = make(pages=320, page=16)
    prompt = tokens(300, 16)
    stored, wanted = engine.backup(prompt)
    assert stored == len(prompt)
    scramble(engine.pool)
    assert engine.prefetch(prompt) == wanted


def test_only_the_prefix_that_was_stored_is_found(make: Any) -> None:
    engine = make()
    prompt = tokens(9)
    _, wanted = engine.backup(prompt[: 5 * PAGE])
    assert engine.query(prompt).storage_hit_count == 5 * PAGE
    assert engine.prefetch(prompt) == wanted
    assert engine.query(tokens(3)).storage_hit_count == 0


def test_another_engine_loads_what_this_one_stored(make: Any) -> None:
    prompt = tokens(4)
    _, wanted = make().backup(prompt)
    assert make().prefetch(prompt) == wanted


@pytest.mark.parametrize(
    "different",
    [{"layout": "page_head"}, {"model": "another"}, {"mla": True}, {"interface_v1": 0}, {"generation": 1}],
    ids=str,
)
def test_an_engine_whose_pages_differ_finds_nothing(make: Any, different: dict[str, Any]) -> None:
    prompt = tokens(4)
    make().backup(prompt)
    assert make(**different).query(prompt).storage_hit_count == 0


def test_pages_of_another_size_are_not_found(make: Any) -> None:
    engine, other = make(page=64), make(page=32)
    prompt = tokens(4)
    engine.backup(prompt)
    other.backup(prompt)
    assert len(engine.prefetch(prompt)) == 4
    assert len(other.prefetch(prompt)) == 8


def test_adapters_and_salts_do_not_share_pages(make: Any) -> None:
    engine, prompt = make(), tokens(4)
    plain, adapter = array("q", prompt), RadixKey(array("q", prompt), extra_key="adapter")
    salted = RadixKey(array("q", prompt), cache_salt="tenant")
    engine.backup(plain)
    assert engine.query(adapter).storage_hit_count == 0
    assert engine.query(salted).storage_hit_count == 0
    assert engine.query(RadixKey(plain)).storage_hit_count == len(prompt)


def test_an_sglang_that_leaves_adapters_out_of_its_hashes_is_refused(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("sglang.srt.mem_cache.utils.storage_namespace_seed")
    with pytest.raises(ValueError, match="LoRA adapter"):
        make()


def test_weights_that_nothing_names_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=r"Set kvasir\.model"):
        make(model="")


def test_an_unknown_option_is_refused_with_the_nearest_one(make: Any) -> None:
    with pytest.raises(ValueError, match="did you mean 'load_deadline_ms'"):
        make(load_deadline=1)


def test_a_stored_page_is_not_stored_twice(make: Any) -> None:
    engine, prompt = make(), tokens(4)
    engine.backup(prompt)
    before = counted("batch_set_v1", "exists")
    _, second = engine.backup(prompt)
    assert counted("batch_set_v1", "exists") == before + 4
    assert engine.prefetch(prompt) != second


def test_detached_and_attached_again_it_finds_its_pages(make: Any) -> None:
    engine, prompt = make(), tokens(4)
    _, wanted = engine.backup(prompt)
    threads = engine.threads()
    engine.controller.detach_storage_backend()
    assert not any(thread.is_alive() for thread in threads)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("kvasir")]
    engine.controller.attach_storage_backend(
        "dynamic", model_name="test-model", storage_backend_extra_config=dict(engine.extra_config)
    )
    assert engine.prefetch(prompt) == wanted


def test_attaching_and_detaching_leaks_nothing(make: Any) -> None:
    engine, prompt = make(), tokens(4)
    _, wanted = engine.backup(prompt)

    def attached() -> tuple[int, int, int]:
        engine.controller.detach_storage_backend()
        engine.controller.attach_storage_backend(
            "dynamic", model_name="test-model", storage_backend_extra_config=dict(engine.extra_config)
        )
        assert engine.prefetch(prompt) == wanted
        maps = Path("/proc/self/maps").read_text()
        return len(os.listdir("/proc/self/fd")), maps.count("/dev/shm/kvasir-test-"), threading.active_count()

    attached()
    before = attached()
    for _ in range(10):
        after = attached()
    assert after == before


def test_cleared_storage_forgets(make: Any) -> None:
    engine, other, prompt = make(), make(), tokens(4)
    engine.backup(prompt)
    engine.storage.clear()
    assert engine.query(prompt).storage_hit_count == 0
    assert other.query(prompt).storage_hit_count == len(prompt)
    _, wanted = engine.backup(prompt)
    assert engine.prefetch(prompt) == wanted


def test_what_an_earlier_engine_stored_after_it_was_cleared_stays_forgotten(make: Any) -> None:
    earlier, prompt = make(), tokens(4)
    earlier.storage.clear()
    earlier.backup(prompt)
    engine = make()
    engine.storage.clear()
    assert engine.query(prompt).storage_hit_count == 0
    assert earlier.query(prompt).storage_hit_count == len(prompt)


def test_statistics_reach_sglang(make: Any) -> None:
    engine, prompt = make(), tokens(6)
    engine.backup(prompt)
    engine.prefetch(prompt)
    stats = engine.storage.get_stats()
    assert stats.backup_pgs == [6]
    assert stats.prefetch_pgs == [6]
    assert stats.prefetch_bandwidth[0] > 0
    assert stats.backup_bandwidth[0] > 0
    assert engine.storage.get_stats() == StorageMetrics()


def test_sglangs_failure_injector_wraps_it(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SGLANG_TEST_HICACHE_BACKEND_RANDOM_FAILURE", "0.3")
    engine = make()
    assert isinstance(engine.storage, HiCacheStorageFailureInjector)
    for _ in range(20):
        prompt = tokens(3)
        _, wanted = engine.backup(prompt)
        loaded = engine.prefetch(prompt)
        assert loaded == wanted[: len(loaded)]
    assert all(thread.is_alive() for thread in engine.threads())


def test_each_generic_page_stands_on_its_own(make: Any) -> None:
    engine = make(interface_v1=0)
    storage, keys = engine.storage, hashes(tokens(3))
    page = engine.pool.get_data_page(0).clone()
    assert storage.set(keys[0], page)
    assert storage.set(keys[2], target_location=page)
    assert storage.exists(keys[0])
    assert not storage.exists(keys[1])
    assert storage.batch_exists(keys) == 1
    targets = [engine.pool.get_dummy_flat_data_page() for _ in keys]
    first, second, third = storage.batch_get(keys, targets)
    assert raw(first) == raw(third) == raw(page)
    assert second is None
    assert raw(storage.get(keys[0])) == raw(page)
    assert storage.get("a name that is no hash", targets[1]) is None
    assert storage.batch_set(["a name that is no hash", keys[1]], [page, page])
    assert raw(storage.get("a name that is no hash", targets[1])) == raw(page)
