"""What others see of a connector: KV events, statistics, metrics, and why it does not start."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from conftest import prompts
from engine_process import transfer
from kvasir_ops.testing import MIB, Node

pytestmark = [pytest.mark.engine, pytest.mark.integration]


def test_stored_chunks_are_published_with_their_tokens(model: Path, node: Node) -> None:
    from stepping import BLOCK, Harness

    harness = Harness(model, node.socket, events=True)
    try:
        published: list[Any] = []
        inner = harness.connector.take_events

        def noting() -> Any:
            taken = list(inner())
            published.extend(taken)
            return taken

        harness.connector.take_events = noting
        prompt = prompts(1, 500, seed=200)[0]
        request = harness.add("r", prompt, 1)
        harness.run()
        ours = [event for event in published if event.medium == "KVASIR"]
        chunk = 2 * BLOCK
        assert [event.block_size for event in ours] == [chunk] * len(ours)
        assert [token for event in ours for token in event.token_ids] == prompt[: 500 // chunk * chunk]
        hashes = [one for event in ours for one in event.block_hashes]
        assert hashes == [bytes(request.block_hashes[index]) for index in range(1, 500 // chunk * 2, 2)]
        assert ours[0].parent_block_hash is None
    finally:
        harness.close()


def test_chunks_that_left_the_node_are_published_as_removed(model: Path) -> None:
    from stepping import Harness

    with Node(dram=16 * MIB, ssd=0, region=2 * MIB) as small:
        harness = Harness(model, small.socket, events=True)
        try:
            stored: set[bytes] = set()
            removed: list[bytes] = []
            inner = harness.connector.take_events

            def noting() -> Any:
                taken = list(inner())
                for event in taken:
                    if event.medium == "KVASIR":
                        known = stored.update if hasattr(event, "token_ids") else removed.extend
                        known(event.block_hashes)
                return taken

            harness.connector.take_events = noting
            number = 0
            end = time.monotonic() + 120
            # 4 KiB a chunk: the node is full after some thousands of them.
            while not removed:
                assert time.monotonic() < end, f"nothing was removed of {len(stored)} chunks"
                harness.add(f"r{number}", prompts(1, 2000, seed=5000 + number)[0], 1)
                harness.run()
                harness.forget()
                number += 1
            assert set(removed) <= stored
            assert len(set(removed)) == len(removed)
        finally:
            harness.close()


def test_statistics_add_up_and_reach_prometheus(model: Path, node: Node) -> None:
    from prometheus_client import REGISTRY, Counter, Gauge, Histogram
    from stepping import Harness
    from vllm.distributed.kv_transfer.kv_connector.v1.metrics import KVConnectorStats

    harness = Harness(model, node.socket)
    try:
        total: KVConnectorStats = harness.connector.build_kv_connector_stats()
        inner = harness.connector.get_kv_connector_stats

        def adding() -> Any:
            nonlocal total
            taken = inner()
            total = total.aggregate(taken) if taken is not None else total
            return taken

        harness.connector.get_kv_connector_stats = adding
        for turn in range(2):
            harness.add(f"r{turn}", prompts(1, 500, seed=201)[0], 1)
            harness.run()
            harness.forget()
        total = total.aggregate(harness.worker.get_kv_connector_stats())
        assert total.data["offered_tokens"] == 448
        assert total.data["loads"] == 1
        assert total.data["loaded_bytes"] == 448 // 32 * harness._bytes.shape[1]
        assert total.data["stored_bytes"] == total.data["loaded_bytes"]
        assert total.reduce()["load_p50_ms"] > 0
        kinds = {Counter: Counter, Gauge: Gauge, Histogram: Histogram}
        metrics = harness.connector.build_prom_metrics(harness.config, kinds, ["engine"], {0: ["0"]})
        metrics.observe(total.data, 0)
        assert REGISTRY.get_sample_value("vllm:kvasir_offered_tokens_total", {"engine": "0"}) == 448
        assert REGISTRY.get_sample_value("vllm:kvasir_load_seconds_count", {"engine": "0"}) == 1
    finally:
        harness.close()


def connector_of(model: Path, kv: dict[str, Any], **config: Any) -> Any:
    """A scheduler's connector, of an engine that is configured so."""
    from engines import settings

    settings()
    import torch
    from vllm.config import KVTransferConfig
    from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorRole
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec

    from kvasir_vllm.connector import KvasirConnector

    made = EngineArgs(
        model=str(model), skip_tokenizer_init=True, enforce_eager=True, block_size=32,
        kv_transfer_config=KVTransferConfig(**kv), **config,
    ).create_engine_config()  # fmt: skip
    spec = FullAttentionSpec(block_size=32, num_kv_heads=1, head_size=16, dtype=torch.bfloat16)
    cache = KVCacheConfig(64, [], [KVCacheGroupSpec(["layer.0"], spec)])
    return KvasirConnector(made, KVConnectorRole.SCHEDULER, cache)


def test_policy_that_ends_requests_is_refused_with_the_whole_flag(model: Path) -> None:
    with pytest.raises(ValueError, match=r"--kv-transfer-config '.*\"kv_load_failure_policy\": \"recompute\""):
        connector_of(model, transfer("/nowhere.sock") | {"kv_load_failure_policy": "fail"})


def test_policy_that_ends_requests_is_taken_when_told_so(model: Path) -> None:
    kv = transfer("/nowhere.sock", allow_failure_policy_fail=True) | {"kv_load_failure_policy": "fail"}
    assert connector_of(model, kv).requires_kv_delivery is False


def test_chunk_that_is_no_multiple_of_the_block_is_refused(model: Path) -> None:
    with pytest.raises(ValueError, match="multiple of the engine's block of 32 tokens"):
        connector_of(model, transfer("/nowhere.sock", chunk_tokens=100))


def test_draft_with_kv_of_its_own_is_refused(model: Path) -> None:
    with pytest.raises(RuntimeError, match=r"speculative decoding with .* is not served"):
        connector_of(
            model,
            transfer("/nowhere.sock"),
            speculative_config={"method": "draft_model", "model": str(model), "num_speculative_tokens": 2},
        )


def test_namespace_differs_by_weights_seed_and_chunk_and_not_by_place(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from tinymodel import write_model

    from kvasir_vllm.shared.fingerprint import identity_of

    def namespace(place: Path, **options: Any) -> Any:
        connector = connector_of(place, transfer("/nowhere.sock", **options))
        return identity_of(connector._vllm_config, "layout", connector._chunking.chunk, connector._options).namespace

    first = namespace(model)
    same = tmp_path / "elsewhere" / model.name
    shutil.copytree(model, same)
    assert namespace(same) == first
    assert namespace(write_model(tmp_path / "other" / model.name, seed=2)) != first
    assert namespace(model, chunk_tokens=64) != first
    assert namespace(model, generation=1) != first
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    assert namespace(model) != first


def test_hashes_that_no_other_process_has_make_the_namespace_private(model: Path) -> None:
    from kvasir_vllm.shared.fingerprint import identity_of

    connector = connector_of(model, transfer("/nowhere.sock"))
    connector._vllm_config.cache_config.prefix_caching_hash_algo = "xxhash"
    options = connector._options
    first = identity_of(connector._vllm_config, "layout", 256, options)
    assert "PYTHONHASHSEED" in first.private
    assert first.namespace != identity_of(connector._vllm_config, "layout", 256, options).namespace


def test_plugin_makes_the_connector_known_by_name() -> None:
    from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory

    from kvasir_vllm import KvasirConnector
    from kvasir_vllm.plugin import register

    register()
    register()
    assert KVConnectorFactory.get_connector_class_by_name("KvasirConnector") is KvasirConnector
