"""Puts ``KvasirTier`` where vLLM's own tiering tests make a tier of vLLM's: a pytest plugin of vllm_tiering_tests.py.

Those tests make ``FileSystemTierManager`` and ``ExampleSecondaryTierManager`` by name, with stand-ins for the engine's
configuration, and look into them here and there. The classes below are the real tier on a real node with those names'
arguments and windows.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from concurrent.futures import wait
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest
from kvasir import SlotStatus
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import init_none_hash
from vllm.v1.kv_offload import config as offload_config
from vllm.v1.kv_offload.base import LookupResult
from vllm.v1.kv_offload.tiering.example import manager as example
from vllm.v1.kv_offload.tiering.fs import manager as fs

from kvasir_vllm.shared.chunks import key_of
from kvasir_vllm.tiering import KvasirTier
from kvasir_vllm.tiering.identity import hash_of

_SOCKET = os.environ["KVASIR_SOCKET"]
_SECONDS = 10.0
_numbers = itertools.count()
_made: list[Any] = []


def _spec() -> Any:
    group = {"tokens_per_block": 16, "layer_names": ("layer.0",), "group_id": 0}
    known = {field.name for field in fields(offload_config.OffloadingGroupConfig)}
    sizes = dict.fromkeys(("world_size", "tp_size", "pp_size", "pcp_size", "dcp_size", "data_parallel_size"), 1)
    return SimpleNamespace(
        config=offload_config.OffloadingConfig(
            groups=(
                offload_config.OffloadingGroupConfig(**{name: value for name, value in group.items() if name in known}),
            ),
            worker_kv_bytes_per_block=0,
            enable_kv_cache_events=False,
            extra_config={},
            engine_id="vllm-tests",
            model=offload_config.OffloadingModelConfig(name="test-model", dtype="float32"),
            cache=offload_config.OffloadingCacheConfig(tokens_per_hash=16, blocks_per_chunk=1),
            parallel=offload_config.OffloadingParallelConfig(
                rank=0, data_parallel_index=0, data_parallel_rank_local=None, is_parallelism_agnostic=False, **sizes
            ),
        )
    )


class _Attached(KvasirTier):
    """Attached when it is made, in a namespace of its own: each of vLLM's tests begins with an empty tier."""

    def __init__(self, primary_kv_view: memoryview, tier_type: str) -> None:
        super().__init__(
            _spec(),
            primary_kv_view,
            tier_type,
            socket=_SOCKET,
            lookup_deadline_ms=1000,
            weights_digest="none",
            namespace={"test": f"{os.getpid()} {next(_numbers)}"},
        )
        self.known: set[bytes] = set()
        self._ended = False
        _made.append(self)
        end = time.monotonic() + _SECONDS
        while self._session.current() is None:
            assert time.monotonic() < end, "the tier did not meet the node"
            time.sleep(0.002)

    def holds(self, key: bytes) -> bool:
        """Whether the node has it."""
        client = self._session.current()
        assert client is not None
        lease = client.lookup([key_of(hash_of(key))], peek=True, sparse=True)
        return bool((lease.slots["status"] == SlotStatus.HIT).all())

    def submit_store(self, job_metadata: Any) -> None:
        """Notes the keys."""
        self.known.update(job_metadata.keys)
        super().submit_store(job_metadata)

    def shutdown(self) -> None:
        """Once."""
        if not self._ended:
            self._ended = True
            super().shutdown()


class InPlaceOfFileSystem(_Attached):
    """Where a test looks for an object's file, it finds one while the node has the object."""

    def __init__(self, offloading_spec: Any, primary_kv_view: memoryview, tier_type: str, **options: Any) -> None:
        del offloading_spec, options
        super().__init__(primary_kv_view, tier_type)
        waiting = SimpleNamespace(empty=lambda: not self._lookups._answers)
        self._lookup_manager = SimpleNamespace(_pending_results=waiting)
        self.file_mapper = SimpleNamespace(get_file_name=lambda key: __file__ if self.holds(key) else "/nowhere/object")


class _Blocks:
    """The example tier's dictionary of what it has: what a test puts in is stored in the node."""

    def __init__(self, tier: InPlaceOfExample) -> None:
        self._tier = tier

    def __setitem__(self, key: bytes, value: bool) -> None:
        client = self._tier._session.current()
        assert value
        assert client is not None
        rows = self._tier._rows
        assert client.store([key_of(hash_of(key))], rows[:1]).committed == 1
        self._tier.known.add(key)

    def __contains__(self, key: bytes) -> bool:
        return self._tier.holds(key)


class InPlaceOfExample(_Attached):
    """As the example tier does, it has ended each job when ``submit`` returns, and knows each answer at once."""

    def __init__(
        self, offloading_spec: Any, primary_kv_view: memoryview, tier_type: str, custom_param: int = 0
    ) -> None:
        del offloading_spec, custom_param
        super().__init__(primary_kv_view, tier_type)
        self.blocks = self.chunks = _Blocks(self)  # 0.29, 0.32

    def lookup(self, key: bytes, req_context: Any) -> LookupResult:
        """At once: waits for the node."""
        end = time.monotonic() + _SECONDS
        while (found := super().lookup(key, req_context)) is LookupResult.RETRY:
            assert time.monotonic() < end
            self._lookups.send()
            time.sleep(0.001)
        # The tests use one request for everything, and what a request knows it is not told again.
        self._lookups.ended(req_context.req_id)
        return found

    def submit_store(self, job_metadata: Any) -> None:
        """Waits for the job."""
        super().submit_store(job_metadata)
        wait(list(self._jobs))

    def submit_load(self, job_metadata: Any) -> None:
        """Waits for the job."""
        super().submit_load(job_metadata)
        wait(list(self._jobs))

    @property
    def completed_jobs(self) -> list[Any]:
        """Jobs that have ended and were not asked for yet."""
        return [future for future in self._jobs if future.done()]

    def get_num_blocks(self) -> int:
        """Objects that the node has of what this tier was given."""
        return sum(self.holds(key) for key in self.known)

    get_num_chunks = get_num_blocks


init_none_hash(sha256)
fs.FileSystemTierManager = InPlaceOfFileSystem
example.ExampleSecondaryTierManager = InPlaceOfExample


@pytest.fixture(autouse=True)
def _end_tiers() -> Iterator[None]:
    yield
    while _made:
        _made.pop().shutdown()
