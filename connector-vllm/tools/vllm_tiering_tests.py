"""Runs vLLM's own tests of tiering against ``KvasirTier``, from a checkout of vLLM (or its unpacked sdist).

  python vllm_tiering_tests.py CHECKOUT

with the Python of an environment that has vLLM of the same version as the checkout, pytest and this package
(``python -m kvasir_ops.environments vllm-0.29.0`` makes one and prints its Python). Starts a node, and puts the tier
where those tests make one of vLLM's (vllm_tiering_plugin.py). Nothing of vLLM's tests is in this repository.

What does not apply: test_obj_tier.py, p2p/, test_async_lookup.py, test_backpressure.py and test_metrics.py test parts
of vLLM's own tiers and manager; of test_fs_tier.py what is about files, O_DIRECT, the C extension, thread pools, events
and localities; of test_tiering_offloading.py what makes no tier, and one test that makes up the example tier's results.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from kvasir_ops.testing import MIB, Node

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
OF_A_MANAGER = "TestTieringOffloadingManager"
NOT_OF_A_MANAGER = "not keeps_only_successful"
_BOUND_S = 600.0


def main() -> int:
    """Pytest's exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, metavar="CHECKOUT", help="folder of vLLM's sources with tests/")
    parser.add_argument("pytest", nargs="*", help="further arguments for pytest (after --)")
    options = parser.parse_args()
    folder = options.checkout.resolve() / TESTS
    if not folder.is_dir():
        parser.error(f"{folder} is not there; CHECKOUT must be a folder of vLLM's sources")
    with Node(256 * MIB) as node:
        return _run(folder, node.socket, options.pytest)


def _run(folder: Path, socket: str, further: list[str]) -> int:
    checkout = folder.parents[len(TESTS.parts) - 1]
    manager = f"{folder / 'test_tiering_offloading.py'}::{OF_A_MANAGER}"
    command = [
        sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", os.fspath(checkout), "--noconftest",
        "-p", "no:cacheprovider", "-p", "vllm_tiering_plugin", "-ra",
        *(f"{folder / 'test_fs_tier.py'}::{name}" for name in OF_A_TIER), manager,
        "-k", NOT_OF_A_MANAGER, *further,
    ]  # fmt: skip
    paths = [os.fspath(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "KVASIR_TIER_SOCKET": socket, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.run(command, cwd=checkout, env=environment, timeout=_BOUND_S, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
