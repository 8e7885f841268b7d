"""From vLLM's registered KV caches to the layout of pages, and what another engine's must have in common with them."""

from __future__ import annotations

import json
from typing import Any

import torch

from kvasir_vllm.shared import compat
from kvasir_vllm.shared.chunks import Chunking
from kvasir_vllm.worker.layout import GroupPages, Layout, strip_of


def layout_of(
    vllm_config: Any, kv_cache_config: Any, kv_caches: dict[str, torch.Tensor], chunking: Chunking
) -> tuple[Layout, str]:
    """The worker's pages, and their fingerprint.

    Raises:
        UnsupportedEngineError: the bytes of a block of some layer do not lie together.
    """
    groups, described = [], []
    for number, group in enumerate(kv_cache_config.kv_cache_groups):
        # A pipeline rank has only some of the layers; the order is the model's on every rank.
        names = [name for name in group.layer_names if name in kv_caches]
        strips = []
        for name in names:
            tensor = kv_caches[name]
            strips.append(
                strip_of(
                    name, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.element_size(),
                    kv_cache_config.num_blocks,
                )
            )  # fmt: skip
        groups.append(GroupPages(strips, chunking.blocks_in_chunk(number)))
        described.append(
            {
                "block": chunking.blocks[number],
                "spec": type(group.kv_cache_spec).__name__,
                "layers": len(names),
                "page": [_page(kv_caches[name]) for name in names[:1]],
                "bytes": groups[-1].block_bytes,
                "backends": sorted({_backend(vllm_config, name) for name in names}),
            }
        )
    device = next(iter(kv_caches.values())).device.type
    fingerprint: dict[str, Any] = {"device": device, "groups": described}
    if device == "cpu":
        # Inside a page the CPU backend packs for the processor's instruction set, in ways that change with versions.
        fingerprint["packed for"] = f"{torch.backends.cpu.get_cpu_capability()} by vllm {compat.VERSION}"
    return Layout(groups, chunking), json.dumps(fingerprint, sort_keys=True)


def _page(tensor: torch.Tensor) -> dict[str, Any]:
    return {
        "shape": list(tensor.shape[1:]),
        "order": sorted(range(1, tensor.dim()), key=lambda dim: -tensor.stride(dim)),
        "dtype": str(tensor.dtype),
    }


def _backend(vllm_config: Any, layer: str) -> str:
    """The attention backend's name: another one may order the same bytes otherwise."""
    context = vllm_config.compilation_config.static_forward_context
    found = context.get(layer)
    try:
        return str(found.get_attn_backend().get_name())
    except Exception:
        return type(found).__name__
