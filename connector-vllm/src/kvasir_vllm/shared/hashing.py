"""vLLM's block hashes outside vLLM: for the router and for tools, which have token ids and no engine.

A block's hash is H((hash of the block before, token ids, extra keys or None)); before the first block stands H(seed).
``sha256`` hashes Python's pickle of that, ``sha256_cbor`` its canonical CBOR (vLLM: ``vllm/utils/hashing.py`` and
``vllm/v1/core/kv_cache_utils.py``, 0.29 to 0.32).
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Sequence
from typing import Any, Final

import cbor2

from kvasir_vllm.shared.errors import UnsupportedEngineError

#: What vLLM takes for an unset PYTHONHASHSEED with a cryptographic hash.
UNSET_SEED: Final = "vllm-none-hash"


def _sha256(value: Any) -> bytes:
    return hashlib.sha256(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)).digest()


def _sha256_cbor(value: Any) -> bytes:
    return hashlib.sha256(cbor2.dumps(value, canonical=True)).digest()


_FUNCTIONS: Final[dict[str, Callable[[Any], bytes]]] = {"sha256": _sha256, "sha256_cbor": _sha256_cbor}


def block_hashes(
    algorithm: str, seed: str | None, tokens: Sequence[int], block_tokens: int, *, lora: str = "", cache_salt: str = ""
) -> list[bytes]:
    """The hash of each whole block of a prompt, as the engine makes it.

    Args:
        algorithm: vLLM's ``--prefix-caching-hash-algo``.
        seed: PYTHONHASHSEED of the engine; None: unset.
        tokens: the prompt's token ids.
        block_tokens: tokens that one hash stands for.
        lora: the adapter's name.
        cache_salt: the request's.

    Raises:
        UnsupportedEngineError: an algorithm whose hashes cannot be made here.
    """
    if algorithm not in _FUNCTIONS:
        raise UnsupportedEngineError(f"hashes of {algorithm!r} are made by the engine alone; use sha256 or sha256_cbor")
    function = _FUNCTIONS[algorithm]
    parent = function(UNSET_SEED if seed is None else seed)
    found = []
    for begin in range(0, len(tokens) - block_tokens + 1, block_tokens):
        extra = tuple(key for key in (lora, cache_salt if begin == 0 else "") if key) or None
        parent = function((parent, tuple(tokens[begin : begin + block_tokens]), extra))
        found.append(parent)
    return found
