"""vLLM's own TieringOffloadingManager around the tier, with a real node, and no device and no engine."""

from __future__ import annotations

import hashlib
import itertools
import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import init_none_hash
from vllm.v1.kv_offload import config as offload_config
from vllm.v1.kv_offload.base import LookupResult, ReqContext, ScheduleEndContext, make_offload_key
from vllm.v1.kv_offload.factory import OffloadingSpecFactory

BLOCK_BYTES = 16 << 10
SECONDS = 20.0
#: A busy machine makes nothing late; tests of lateness say their own.
PATIENT = {"lookup_deadline_ms": 5000, "transfer_deadline_ms": 10000}
_requests = itertools.count()


def keys(count: int, seed: str = "", group: int = 0) -> list[Any]:
    """Offload keys as vLLM makes them: a 32-byte hash and the KV group."""
    return [make_offload_key(hashlib.sha256(f"{seed}{number}".encode()).digest(), group) for number in range(count)]


def offloading_config(tier: dict[str, Any], **changes: Any) -> Any:
    """vLLM's OffloadingConfig of a small model on one worker; fields that a version lacks are left out."""
    groups = changes.pop("groups", 1)
    named = {field.name for field in fields(offload_config.OffloadingGroupConfig)}
    group_configs = tuple(
        offload_config.OffloadingGroupConfig(
            **{
                name: value
                for name, value in {
                    "tokens_per_block": 32,
                    "layer_names": tuple(f"layer.{group}.{layer}" for layer in range(4)),
                    "group_id": group,
                }.items()
                if name in named
            }
        )
        for group in range(groups)
    )
    extra = {
        "spec_name": "TieringOffloadingSpec",
        "cpu_bytes_to_use": changes.pop("rows", 64) * BLOCK_BYTES,
        "secondary_tiers": [{"type": "KvasirTier", "module_path": "kvasir_vllm.tiering", **tier}],
    }
    parallel = {
        "rank": 0,
        "world_size": 1,
        "tp_size": 1,
        "pp_size": 1,
        "pcp_size": 1,
        "dcp_size": 1,
        "data_parallel_index": 0,
        "data_parallel_size": 1,
        "data_parallel_rank_local": None,
        "is_parallelism_agnostic": False,
    }
    return offload_config.OffloadingConfig(
        groups=group_configs,
        worker_kv_bytes_per_block=changes.pop("block_bytes", BLOCK_BYTES),
        enable_kv_cache_events=False,
        extra_config=extra,
        engine_id=f"kvasir-test-{os.getpid()}-{uuid.uuid4().hex[:8]}",
        model=offload_config.OffloadingModelConfig(name=changes.pop("model", "tiny"), dtype="bfloat16"),
        cache=offload_config.OffloadingCacheConfig(tokens_per_hash=32, blocks_per_chunk=1),
        parallel=offload_config.OffloadingParallelConfig(**parallel),
    )


class Rig:
    """One engine's scheduler side, as far as offloading goes."""

    def __init__(
        self, socket: str, *, attached: bool = True, config: dict[str, Any] | None = None, **tier: Any
    ) -> None:
        init_none_hash(sha256)
        self.spec = OffloadingSpecFactory.create_spec(
            # Of a model without files: its weights are said to be these.
            offloading_config({"socket": socket, "weights_digest": "of the rig", **PATIENT, **tier}, **(config or {}))
        )
        self.manager: Any = self.spec.get_manager()
        self.tier: Any = self.manager.secondary_tiers[0]
        view = np.asarray(self.manager.primary_tier.get_kv_memoryview())
        self.rows = view.view(np.uint8)
        if attached:
            self.until(lambda: self.tier._session.current() is not None, "the tier meets the node")

    def until(self, condition: Any, what: str, seconds: float = SECONDS) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited {seconds} s in vain: {what}"
            time.sleep(0.002)

    def request(self) -> Any:
        context = ReqContext(req_id=f"request-{next(_requests)}")
        self.manager.on_new_request(context)
        return context

    def step(self) -> None:
        self.manager.on_schedule_end(ScheduleEndContext(new_req_ids=(), preempted_req_ids=()))

    def settle(self, seconds: float = SECONDS) -> None:
        """Steps until nothing is under way."""

        def idle() -> bool:
            self.step()
            return not self.manager.has_pending_work()

        self.until(idle, "jobs end", seconds)

    def offload(self, wanted: Sequence[Any], content: np.ndarray[Any, Any]) -> None:
        """What the engine does with computed blocks: they get into the region, and from there to the tier."""
        context = self.request()
        prepared = self.manager.prepare_store(list(wanted), context)
        assert prepared is not None
        assert list(prepared.keys_to_store) == list(wanted)
        for row, block in zip(prepared.store_spec.block_ids.tolist(), content, strict=True):
            self.rows[row, : len(block)] = block
        self.manager.complete_store(list(wanted), context)
        self.settle()
        self.manager.on_request_finished(context)

    def forget(self) -> None:
        """Empties the region, so that what is found afterwards comes from the tier."""
        self.manager.reset_cache()
        self.rows[:] = 0xEE

    def look(self, context: Any, wanted: Sequence[Any], seconds: float = SECONDS) -> list[LookupResult]:
        """Asks as vLLM's scheduler does, a step at a time, until every answer is HIT or MISS."""
        end = time.monotonic() + seconds
        while True:
            found = [self.manager.lookup(key, context) for key in wanted]
            if all(result in (LookupResult.HIT, LookupResult.MISS) for result in found):
                return found
            self.step()
            assert time.monotonic() < end, f"no final answer in {seconds} s: {found}"
            time.sleep(0.001)

    def fetch(self, wanted: Sequence[Any]) -> list[np.ndarray[Any, Any] | None]:
        """The content of each block as the engine would load it; None: a miss."""
        context = self.request()
        found = self.look(context, wanted)
        content: list[np.ndarray[Any, Any] | None] = []
        for key, result in zip(wanted, found, strict=True):
            if result is not LookupResult.HIT:
                content.append(None)
                continue
            row = int(self.manager.prepare_load([key], context).block_ids[0])
            content.append(self.rows[row].copy())
            self.manager.complete_load([key], context)
        self.manager.on_request_finished(context)
        return content

    def close(self) -> None:
        self.rows = np.zeros((0, 0), np.uint8)
        self.manager.shutdown()


def blocks(count: int, seed: int = 0, size: int = BLOCK_BYTES) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (count, size), dtype=np.uint8)
