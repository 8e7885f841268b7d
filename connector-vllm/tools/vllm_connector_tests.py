"""Runs vLLM's own tests of KV connectors against ``KvasirConnector``, from a checkout of vLLM (or its unpacked sdist).

  python vllm_connector_tests.py CHECKOUT

with the Python of an environment that has vLLM of the same version as the checkout, pytest and this package
(``python -m kvasir_bench.environments vllm-0.29.0`` makes one and prints its Python). Starts a node, and puts the
connector where those tests make one (vllm_connector_plugin.py). Nothing of vLLM's tests is in this repository.

What does not apply, of tests/v1/kv_connector/unit: tests of one connector's inside or protocol (nixl, mooncake,
moriio, lmcache, flexkv, hf3fs, decode_bench, hidden_states, example, offloading; remote_prefill_lifecycle,
remote_decode_lifecycle and bidirectional_kv_transfer have Nixl's transfer parameters); tests of vLLM's parts without a
connector (config, output_aggregator, handshake_pp_aggregation, tp_mapping, transfer_topology_sharded);
scheduler_kv_connector_override, whose connector is the thing tested; of multi_connector what is about statistics of
others, made-up metadata, and what needs a GPU and weights; of hma_auto_config what is about connectors without hybrid
memory.
"""

from __future__ import annotations

import sys
from pathlib import Path

import theirs

TESTS = Path("tests/v1/kv_connector/unit")
APPLY = (
    # What a scheduler does with blocks that could not be loaded, and that no cache keeps them.
    "test_kv_load_failure_recovery.py",
    "test_invalid_blocks_correctness.py",
    "test_error_propagation.py",
    "test_cache_pollution_prevention.py",
    # A step without a forward pass binds and clears the metadata all the same.
    "test_kv_connector_lifecycle.py",
    # Beside another connector; and hybrid memory stays on.
    "test_multi_connector.py::test_multi_connector_handle_preemptions_integration",
    "test_hma_auto_config.py::test_hma_auto_config[hma_connector]",
    "test_hma_auto_config.py::test_hma_auto_config[multi_all_hma]",
)

if __name__ == "__main__":
    sys.exit(theirs.main(__doc__, TESTS, "vllm_connector_plugin", APPLY))
