"""Block hashes made without vLLM are those of vLLM."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from kvasir_vllm.shared.errors import UnsupportedEngineError
from kvasir_vllm.shared.hashing import block_hashes

# Made by vLLM itself with PYTHONHASHSEED=0: tokens 0 to 15, blocks of 16.
KNOWN = {
    "sha256_cbor": "d830de3d42c00f25a2949b5d12d98642664a44872c1614c5b0147556276afc9c",
    "sha256": "6358e31578a64b75ebe28cdb99d3beae65de82a2087321dc6ec84ae048faaaa6",
}


@pytest.mark.parametrize("algorithm", sorted(KNOWN))
def test_a_known_block_has_its_known_hash(algorithm: str) -> None:
    assert [found.hex() for found in block_hashes(algorithm, "0", range(20), 16)] == [KNOWN[algorithm]]


def test_a_salt_changes_every_block_behind_it() -> None:
    plain = block_hashes("sha256", None, range(64), 16)
    salted = block_hashes("sha256", None, range(64), 16, cache_salt="salt")
    assert len(plain) == len(salted) == 4
    assert not set(plain) & set(salted)


def test_an_algorithm_that_cannot_be_made_here_is_refused() -> None:
    with pytest.raises(UnsupportedEngineError, match="xxhash"):
        block_hashes("xxhash", None, range(16), 16)


_VLLM = """
import sys
from vllm.utils.hashing import get_hash_fn_by_name
from vllm.v1.core import kv_cache_utils as utils
function = get_hash_fn_by_name(sys.argv[1])
utils.init_none_hash(function)
parent = None
for index, extra in enumerate([("adapter", "salt"), ("adapter",), ("adapter",)]):
    parent = utils.hash_block_tokens(function, parent, list(range(32 * index, 32 * index + 32)), extra)
    print("HASH", parent.hex())
"""


@pytest.mark.engine
@pytest.mark.parametrize("algorithm", sorted(KNOWN))
@pytest.mark.parametrize("seed", [None, "7"])
def test_a_prompt_has_the_hashes_that_vllm_gives_it(algorithm: str, seed: str | None) -> None:
    environment: dict[str, Any] = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
    if seed is not None:
        environment["PYTHONHASHSEED"] = seed
    command = [sys.executable, "-c", _VLLM, algorithm]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    theirs = [line.split()[1] for line in run.stdout.splitlines() if line.startswith("HASH ")]
    ours = block_hashes(algorithm, seed, range(100), 32, lora="adapter", cache_salt="salt")
    assert [found.hex() for found in ours] == theirs
