"""Runs SGLang's own tests of storage backends against ``KvasirStorage``, on the CPU.

  python sglang_storage_tests.py [CHECKOUT]

with the Python of an environment that has SGLang, pytest and this package (``python -m kvasir_bench.environments
sglang-0.5.23`` makes one and prints its Python). Starts a node, and puts our class where those tests make a backend of
SGLang's. Some tests lie in the installed package; those of SGLang's ``test`` folder need a CHECKOUT, or a folder with
the same paths. Nothing of SGLang's tests is in this repository.

docs/sglang.md says which tests apply, and why the others do not.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import os
import sys
import types
import unittest
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import sglang
from kvasir_ops.testing import MIB, Node
from sglang.srt.mem_cache import hicache_storage
from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool
from sglang.srt.mem_cache.pool_host import base
from sglang.srt.mem_cache.pool_host.mha import MHATokenToKVPoolHost

from kvasir_sglang.storage import KvasirStorage

STORAGE = Path(sglang.__file__).parent / "srt" / "mem_cache" / "storage"
NIXL = Path("test/registered/unit/mem_cache/test_hicache_nixl_storage.py")
#: Of the tests of NIXL's class those that look at what comes back, and not at NIXL.
OF_ANY_BACKEND = (
    "TestNixlUnified.test_nixl_api_contract_host_addrs_within_registered_region_zero_copy",
    "TestNixlUnified.test_nixl_api_contract_host_addrs_within_registered_region_non_zero_copy",
    "TestNixlUnified.test_batch_set_get_v2_distinguishes_same_key_by_pool_name",
)
_numbers = itertools.count()
_made: list[KvasirStorage] = []


class _InPlace(KvasirStorage):
    """Our backend with another's arguments, in a namespace of its own: each test begins with an empty one."""

    def __init__(self, socket: str, interface_v1: int, config: Any, mem_pool: Any = None, **options: Any) -> None:
        del options
        extra = {"interface_v1": interface_v1, "kvasir": {"socket": socket, "model": f"test {next(_numbers)}"}}
        super().__init__(replace(config, extra_config=extra))
        _made.append(self)
        # What the tests watch or print of another's class.
        self.agent = MagicMock()
        self.kv_cache_manager = MagicMock()
        if mem_pool is not None:
            self.register_mem_pool_host(mem_pool)

    def register_mem_pool_host(self, mem_pool_host: Any) -> None:
        """As ours, also for their mock pools."""
        super().register_mem_pool_host(_completed(mem_pool_host))

    def register_mem_host_pool_v2(self, host_pool: Any, host_pool_name: Any) -> None:
        """As ours, also for their mock pools."""
        super().register_mem_host_pool_v2(_completed(host_pool), host_pool_name)


def _completed(pool: Any) -> Any:
    """Gives mock pools what every pool of SGLang's has."""
    if not hasattr(pool, "size"):
        entries = getattr(pool, "entries_per_page", 0) * getattr(pool, "page_elements", 0)
        pool.size = pool.kv_buffer.numel() // entries if entries else pool.temporal_buffer.shape[0]
    if _names_wrong_runs(pool):
        # It names the runs of page_first in both layouts; flat copies are right.
        pool.get_page_buffer_meta = lambda _: None
    return pool


def _names_wrong_runs(pool: Any) -> bool:
    return type(pool).__name__ == "MockMemPoolHost" and pool.layout == "layer_first"


def _module(name: str, **contents: Any) -> None:
    module = types.ModuleType(name)
    vars(module).update(contents)
    sys.modules[name] = module


def _load(path: Path) -> Any:
    """A test module of theirs."""
    spec = importlib.util.spec_from_file_location(f"theirs_{path.stem}_{next(_numbers)}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _of_mooncake(socket: str) -> dict[str, Callable[[], None]]:
    _module("sglang.srt.mem_cache.storage.mooncake_store.mooncake_store", MooncakeStore=partial(_InPlace, socket, 1))
    module = _load(STORAGE / "mooncake_store" / "test_mooncake_store.py")
    # As its own main does; with (replicated, rank, ranks).
    cases = ((False, 0, 1), (True, 0, 1), (False, 1, 4), (True, 3, 8))

    def run(replicated: bool, rank: int, ranks: int) -> None:
        module.test_batch_operation(
            module.make_hicache_storage_config(is_mla_model=replicated, tp_rank=rank, tp_size=ranks)
        )

    return {
        f"test_batch_operation, replicated {case[0]}, rank {case[1]} of {case[2]}": partial(run, *case)
        for case in cases
    }


def _of_aibrix(socket: str) -> dict[str, Callable[[], None]]:
    _module("aibrix_kvcache.common.absl_logging", log_every_n_seconds=lambda *_: None)
    _module("aibrix_kvcache.common")
    _module("aibrix_kvcache")
    _module("aibrix_kvcache_storage", AibrixKVCacheStorage=partial(_InPlace, socket, 0))
    module = _load(STORAGE / "aibrix_kvcache" / "unit_test.py")
    # The test is older than the arguments of today's classes, and pins memory, which needs a GPU.
    module.HiCacheStorageConfig = partial(
        hicache_storage.HiCacheStorageConfig,
        pp_rank=0, pp_size=1, attn_cp_rank=0, attn_cp_size=1, enable_storage_metrics=False,
    )  # fmt: skip
    module.MHATokenToKVPool = lambda *arguments: MHATokenToKVPool(*arguments[:8])
    module.MHATokenToKVPoolHost = partial(MHATokenToKVPoolHost, pin_memory=False)
    return {"test_with_page_size": module.AIBrixKVCacheStorageTest().test_with_page_size}


def _of_nixl(socket: str, checkout: Path) -> dict[str, Callable[[], None]]:
    _module("sglang.srt.mem_cache.storage.nixl.hicache_nixl", HiCacheNixl=lambda storage_config, **options: _InPlace(
        socket, 1, storage_config, **options))  # fmt: skip
    # SGLang's own imports half of its benchmarks.
    _module("sglang.test.test_utils", CustomTestCase=unittest.TestCase)
    module = _load(checkout / NIXL)
    return {name: partial(_run_unittest, module, name) for name in OF_ANY_BACKEND}


def _run_unittest(module: Any, name: str) -> None:
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromName(name, module).run(result)
    for _, trace in (*result.errors, *result.failures):
        raise AssertionError(trace)
    assert result.testsRun == 1, f"{name} was not found"
    assert not result.skipped, f"{name} was skipped: {result.skipped}"


def main() -> int:
    """Exit status 0 when all passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, nargs="?", help="folder of SGLang's sources with test/")
    options = parser.parse_args()
    if options.checkout is not None and not (options.checkout / NIXL).is_file():
        parser.error(f"{options.checkout / NIXL} is not there; CHECKOUT must be a folder of SGLang's sources")
    # SGLang keeps 10 GiB of a machine free, more than the machine may have.
    base.HICACHE_HOST_MEMORY_RESERVE_BYTES = 0
    failed = passed = 0
    with Node(256 * MIB) as node:
        tests = {"mooncake_store/test_mooncake_store.py": _of_mooncake(node.socket)}
        tests["aibrix_kvcache/unit_test.py"] = _of_aibrix(node.socket)
        if options.checkout is not None:
            tests[os.fspath(NIXL)] = _of_nixl(node.socket, options.checkout)
        for file, those in tests.items():
            for name, test in those.items():
                try:
                    test()
                except Exception as error:
                    failed += 1
                    print(f"FAILED {file}: {name}: {error}")
                else:
                    passed += 1
                    print(f"passed {file}: {name}")
                while _made:
                    _made.pop().close()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
