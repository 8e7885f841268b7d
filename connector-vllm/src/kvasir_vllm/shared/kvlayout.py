"""Which layout of the KV cache is asked of vLLM: one in which a block of all layers is a single copy.

vLLM's own choice lays each layer out apart, so that a block is as many copies as the model has layers, and submitting
them takes longer than copying. Objects in the node are the same bytes either way.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kvasir_vllm.shared.options import ConnectorOptions

_log = logging.getLogger("vllm.kvasir")

#: Best first: in both a block of all layers lies together; tokens before heads is what most backends prefer.
_WHOLE_BLOCKS = ("BLNHC", "BLHNC")


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes:
        name: of the layout; None: vLLM's own choice.
        why: when that is None.
    """

    name: str | None
    why: str = ""


def wanted_layout(vllm_config: Any) -> Wanted:
    """What to ask for. Called by vLLM before it has made the KV cache, and by the connector for the log.

    An engine that would not start with the layout must not get it: vLLM takes another one where a backend's kernels
    cannot have it, but ends where they need blocks of another size, and where connectors ask for different ones.
    """
    try:
        return _wanted(vllm_config)
    except Exception as error:
        return Wanted(None, f"what the attention backend can have was not found out: {type(error).__name__}: {error}")


def log_layout(vllm_config: Any) -> None:
    """Says what vLLM has chosen."""
    name = getattr(vllm_config.cache_config, "kv_cache_layout", None)
    if name in _WHOLE_BLOCKS:
        _log.info("Kvasir: KV cache layout %s: a block of all layers is one copy", name)
        return
    wanted = wanted_layout(vllm_config)
    why = wanted.why or f"{wanted.name} was asked for, and something else has precedence"
    _log.info("Kvasir: KV cache layout %s, each layer of a block is a copy of its own: %s", name or "unknown", why)


def _wanted(vllm_config: Any) -> Wanted:
    if not ConnectorOptions.of(vllm_config.kv_transfer_config.kv_connector_extra_config or {}).whole_blocks:
        return Wanted(None, "whole_blocks is false")
    device = vllm_config.device_config.device_type
    if device != "cuda":
        return Wanted(None, f"on {device} copies are not submitted to a device")
    if _asked_by_multi_connector():
        return Wanted(None, "MultiConnector ends when its connectors ask for different layouts")
    from vllm.v1.attention.backends.utils import get_supported_kv_cache_layouts

    layers = _layers(vllm_config)
    backends = list({backend: None for backend, _ in layers})
    names = ", ".join(sorted({str(backend.get_name()) for backend in backends}))
    can = [layout.name for layout in get_supported_kv_cache_layouts(backends)]
    name = next((layout for layout in _WHOLE_BLOCKS if layout in can), None)
    if name is None:
        return Wanted(None, f"{names} can have {', '.join(can)} only")
    block = vllm_config.cache_config.block_size
    equal = _equal_blocks(vllm_config, [spec for _, spec in layers])
    if not all(_takes(backend, spec, block, equal) for backend, spec in layers):
        return Wanted(None, f"{names} works on parts of blocks of {block} tokens, which such a layout cannot give")
    return Wanted(name)


def _layers(vllm_config: Any) -> list[tuple[Any, Any]]:
    """Each layer's attention backend and page, where the worker is in this process; else the model's backend alone."""
    from vllm.distributed.kv_transfer.kv_connector.utils import get_current_attn_backends

    layers = [
        (layer.get_attn_backend(), layer.get_kv_cache_spec(vllm_config))
        for layer in vllm_config.compilation_config.static_forward_context.values()
        if hasattr(layer, "get_attn_backend") and hasattr(layer, "get_kv_cache_spec")
    ]
    return layers or [(backend, None) for backend in get_current_attn_backends(vllm_config)]


def _takes(backend: Any, spec: Any, block: int, equal: bool) -> bool:
    """Whether the backend's kernels work on whole blocks.

    Args:
        backend: vLLM's class.
        spec: of the layer's pages; None where it is not known.
        block: tokens of the engine's block.
        equal: every KV group has blocks of that size; else vLLM gives some of them a multiple of it.
    """
    asked = backend.get_supported_kernel_block_sizes
    # From 0.30 on it depends on the pages.
    for size in asked(spec) if inspect.signature(asked).parameters else asked():
        base = getattr(size, "base", None)
        if block % base == 0 if base is not None else equal and size == block:
            return True
    return False


def _equal_blocks(vllm_config: Any, specs: Sequence[Any]) -> bool:
    """Whether all layers have pages of one size; where that is not known, whether all are of one kind."""
    sizes = {spec.page_size_bytes for spec in specs if spec is not None}
    if sizes:
        return len(sizes) == 1
    return len(set(getattr(vllm_config.model_config.hf_text_config, "layer_types", None) or ())) <= 1


def _asked_by_multi_connector() -> bool:
    """Whether vLLM's MultiConnector asks: it tells none of its connectors that there are others."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).endswith(".multi_connector"):
            return True
        frame = frame.f_back
    return False
