"""Runs vLLM's own tests of tiering against ``KvasirTier``, from a checkout of vLLM (or its unpacked sdist).

  python vllm_tiering_tests.py CHECKOUT

with the Python of an environment that has vLLM of the same version as the checkout, pytest and this package
(``python -m kvasir_bench.environments vllm-0.29.0`` makes one and prints its Python). Starts a node, and puts the tier
where those tests make one of vLLM's (vllm_tiering_plugin.py). Nothing of vLLM's tests is in this repository.

What does not apply: test_obj_tier.py, p2p/, test_async_lookup.py, test_backpressure.py and test_metrics.py test parts
of vLLM's own tiers and manager; of test_fs_tier.py what is about files, O_DIRECT, the C extension, thread pools, events
and localities; of test_tiering_offloading.py what makes no tier, and one test that makes up the example tier's results.
"""

from __future__ import annotations

import sys
from pathlib import Path

import theirs

TESTS = Path("tests/v1/kv_offload/tiering")
#: A tier by itself: lookups, jobs, bytes.
OF_A_TIER = (
    "test_lookup_empty_tier",
    "test_store_creates_file_and_lookup_succeeds",
    "test_store_then_load_roundtrip",
    "test_failed_load_missing_file",
    "test_multiple_jobs_tracked_independently",
    "test_multi_block_job_partial_failure",
    "test_store_load_data_integrity",
)
#: A tier under vLLM's manager. What is not run and why is in the module's documentation.
OF_A_MANAGER = "test_tiering_offloading.py::TestTieringOffloadingManager"
NOT_OF_A_MANAGER = ("-k", "not keeps_only_successful")

if __name__ == "__main__":
    apply = (*(f"test_fs_tier.py::{name}" for name in OF_A_TIER), OF_A_MANAGER, *NOT_OF_A_MANAGER)
    sys.exit(theirs.main(__doc__, TESTS, "vllm_tiering_plugin", apply))
