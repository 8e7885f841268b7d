"""Which shards a chunk of this engine consists of, which of them a rank owns, and what cannot be served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kvasir import GroupRule, Shard

from kvasir_vllm.shared import compat
from kvasir_vllm.shared.errors import UnsupportedEngineError

_FULL = frozenset({"full_attention", "mla_attention"})
_WINDOWED = frozenset({"sliding_window", "sliding_window_mla"})
_OWN_KV_ONLY = frozenset({"ngram", "ngram_gpu", "suffix"})


# Kinds of full attention to vLLM, whose pages are not all of a token's state.
_SPECIAL = frozenset({"RSWASpec", "HiddenStateCacheSpec", "CircularBufferSpec"})


def _kind(spec: Any) -> str:
    """vLLM's name for a group's kind of attention."""
    from vllm.v1.kv_cache_interface import get_kv_cache_spec_kind

    name = type(spec).__name__
    return name if name in _SPECIAL else str(get_kv_cache_spec_kind(spec).value)


@dataclass(frozen=True)
class Topology:
    """How an engine's KV is split over its ranks.

    Attributes:
        pp_size, tp_size: pipeline and tensor parallel sizes.
        head_slots: different head ranges; less than ``tp_size`` where ranks hold the same heads.
        heads: KV heads of the model.
        layers: for each pipeline rank its first layer and the one after its last.
        windows: for each KV group the chunks at the end of a prefix that must be there; 0: all of them.
    """

    pp_size: int
    tp_size: int
    head_slots: int
    heads: int
    layers: tuple[tuple[int, int], ...]
    windows: tuple[int, ...]

    @property
    def shards(self) -> list[Shard]:
        """Everything that one chunk consists of, in the order of :meth:`index`."""
        result = []
        for pp_rank, (first, end) in enumerate(self.layers):
            for slot in range(self.head_slots):
                begin, stop = (self.heads * side // self.head_slots for side in (slot, slot + 1))
                result += [
                    Shard(first, end, begin, stop, kv_group=group, pp_rank=pp_rank, pp_size=self.pp_size)
                    for group in range(len(self.windows))
                ]
        return result

    @property
    def rules(self) -> list[GroupRule]:
        """The groups' hit rules."""
        return [GroupRule(group, window) for group, window in enumerate(self.windows)]

    def slot(self, tp_rank: int) -> int:
        """The head range that a rank holds."""
        return tp_rank * self.head_slots // self.tp_size

    def stores(self, tp_rank: int) -> bool:
        """Whether this rank is the one that stores its head range."""
        return tp_rank == 0 or self.slot(tp_rank) != self.slot(tp_rank - 1)

    def index(self, pp_rank: int, tp_rank: int) -> list[int]:
        """Indices of a rank's shards, one for each KV group."""
        first = (pp_rank * self.head_slots + self.slot(tp_rank)) * len(self.windows)
        return list(range(first, first + len(self.windows)))


def refuse_what_is_not_served(vllm_config: Any, kv_cache_config: Any) -> None:
    """Raises where loads could give wrong bytes, or where a part of the KV is not in the pages.

    Raises:
        UnsupportedEngineError: says what, and why.
    """
    parallel, model, cache = vllm_config.parallel_config, vllm_config.model_config, vllm_config.cache_config
    if parallel.decode_context_parallel_size > 1 or getattr(parallel, "prefill_context_parallel_size", 1) > 1:
        raise UnsupportedEngineError(
            "context parallelism (dcp, pcp) is not served: blocks are split over ranks by token"
        )
    if model.is_encoder_decoder:
        raise UnsupportedEngineError(
            "encoder-decoder models are not served: their cross attention is no prefix of a prompt"
        )
    speculative = vllm_config.speculative_config
    if speculative is not None and speculative.method not in _OWN_KV_ONLY:
        raise UnsupportedEngineError(
            f"speculative decoding with {speculative.method} is not served: the draft's KV of a chunk's last block "
            f"is not complete when the chunk is; served are {', '.join(sorted(_OWN_KV_ONLY))}"
        )
    if getattr(cache, "calculate_kv_scales", False):
        raise UnsupportedEngineError(
            "calculate_kv_scales is not served: the scales are found at run time and are not in the pages; "
            "use a model with scales of its own"
        )
    if model.enable_sleep_mode and vllm_config.device_config.device_type != "cpu":
        raise UnsupportedEngineError(
            "sleep mode is not served on a GPU: sleeping frees the pages that a store may still be reading"
        )
    if model.use_mla and vllm_config.device_config.device_type == "cpu":
        raise UnsupportedEngineError(
            "MLA is not served on the CPU: there vLLM gives a prompt other tokens beside another prompt than alone, so "
            "that nobody can tell whether what was loaded is right"
        )
    groups = kv_cache_config.kv_cache_groups
    for group in groups:
        kind = _kind(group.kv_cache_spec)
        if kind not in _FULL | _WINDOWED:
            why = (
                ": its state can only be stored at the boundaries that the engine hands over" if kind == "mamba" else ""
            )
            raise UnsupportedEngineError(f"a KV group of kind {kind} is not served{why}")
        if getattr(group, "host_resident", False) or not getattr(group, "enable_kv_transfer", True):
            raise UnsupportedEngineError("KV groups that live in host memory or are not transferable are not served")
        if kind in _WINDOWED and not compat.TABLES_ON_DEMAND:
            raise UnsupportedEngineError(
                f"sliding-window attention is not served with vLLM {compat.VERSION}: it does not show connectors which "
                "blocks left the window; vLLM 0.30 does"
            )
    if len(groups) > 1 and not compat.FAILED_RECEIVES:
        raise UnsupportedEngineError(
            f"models with {len(groups)} KV groups are not served with vLLM {compat.VERSION}: it ends when a load "
            "of such a model fails; vLLM 0.30 does not"
        )


def topology_of(vllm_config: Any, kv_cache_config: Any, chunk_tokens: int) -> Topology:
    """The engine's topology, the same in its scheduler and in all its workers."""
    from vllm.distributed.utils import get_pp_indices

    parallel, model = vllm_config.parallel_config, vllm_config.model_config
    heads = 1 if model.use_mla else model.get_total_num_kv_heads()
    total = model.get_total_num_hidden_layers()
    pp_size = parallel.pipeline_parallel_size
    layers = [get_pp_indices(total, rank, pp_size) for rank in range(pp_size)]
    return Topology(
        pp_size=pp_size,
        tp_size=parallel.tensor_parallel_size,
        head_slots=min(heads, parallel.tensor_parallel_size),
        heads=heads,
        layers=tuple((int(first), int(end)) for first, end in layers),
        windows=windows_of([group.kv_cache_spec for group in kv_cache_config.kv_cache_groups], chunk_tokens),
    )


def windows_of(specs: Sequence[Any], chunk_tokens: int) -> tuple[int, ...]:
    """For each KV group the chunks that must be there before a token may follow; 0: all."""
    result = []
    for spec in specs:
        window = getattr(spec, "sliding_window", None) if _kind(spec) in _WINDOWED else None
        # The next token looks at the window - 1 tokens before it.
        result.append(max(1, -(-(int(window) - 1) // chunk_tokens)) if window else 0)
    return tuple(result)
