"""The namespace and the keys of rows: what must be equal before two engines may exchange them."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from typing import Any, Final

from kvasir import Namespace, Shard

#: Of how a row is laid out by this module's reading of vLLM; another number is another namespace.
LAYOUT_VERSION: Final = 1
#: vLLM's key of a row: the block's hash, then the KV group's index in four bytes, big-endian.
GROUP_BYTES: Final = 4


def hash_of(offload_key: bytes) -> bytes:
    """The block's hash."""
    return offload_key[:-GROUP_BYTES]


def group_of(offload_key: bytes) -> int:
    """The KV group's index."""
    return int.from_bytes(offload_key[-GROUP_BYTES:], "big")


def shards_of(config: Any) -> tuple[Shard, ...]:
    """One shard for each KV group: a row has all ranks' parts, one behind the other.

    Args:
        config: vLLM's ``OffloadingConfig``.
    """
    return tuple(
        Shard(layer_begin=0, layer_end=max(len(group.layer_names), 1), kv_group=index)
        for index, group in enumerate(config.groups)
    )


def namespace_of(
    config: Any,
    row_bytes: int,
    *,
    none_hash: bytes,
    engine_version: str,
    device: str,
    model_id: str = "",
    weights_digest: bytes = b"",
    extra: Mapping[str, str] | None = None,
) -> Namespace:
    """Everything that decides what bytes a row has.

    Args:
        config: vLLM's ``OffloadingConfig``.
        row_bytes: of one row of vLLM's region, padding included.
        none_hash: vLLM's hash before the first block: it follows from the hash algorithm and the seed, and is random
            where hashes are not reproducible, so that such an engine meets only itself.
        engine_version: vLLM's.
        device: what computes: its pages may be packed for it.
        model_id: instead of the model's name, for engines that call one model by several names.
        weights_digest: of the weights.
        extra: further fields of the operator.
    """
    parallel = config.parallel
    layout = {
        "form": "vllm-tiering",
        "version": LAYOUT_VERSION,
        "row_bytes": row_bytes,
        "worker_block_bytes": config.worker_kv_bytes_per_block,
        "blocks_per_chunk": config.cache.blocks_per_chunk,
        "tokens_per_hash": config.cache.tokens_per_hash,
        # Rows hold all ranks' parts, so another split is another row.
        "parallel": [parallel.tp_size, parallel.pp_size, parallel.pcp_size, parallel.dcp_size],
        "replicated": config.replicated_layout,
        "canonical": config.canonical_layout,
        "kv_cache_layout": config.kv_cache_layout,
        "groups": [[group.tokens_per_block, list(group.layer_names)] for group in config.groups],
        "vllm": engine_version,
        "device": device,
    }
    return Namespace(
        model=model_id or config.model.name,
        chunk_tokens=config.groups[0].tokens_per_block * config.cache.blocks_per_chunk,
        weights_digest=weights_digest,
        hash_algorithm="vllm",
        hash_seed=none_hash.hex(),
        kv_dtype=config.model.dtype,
        layout=json.dumps(layout, sort_keys=True, separators=(",", ":")),
        extra=extra or {},
    )


def processor() -> str:
    """This machine's processor by what pages may be packed for: its architecture and vector instructions."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            flags = next((line.split(":")[1].split() for line in lines if line.startswith("flags")), [])
    except OSError:
        flags = []
    packed = sorted(flag for flag in flags if flag.startswith(("avx", "amx")))
    return "-".join([platform.machine(), *packed])
