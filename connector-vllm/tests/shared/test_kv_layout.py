"""The layout of the KV cache that vLLM is asked for: its own code calls the hook, chooses, and lays the pages out.

Kernels are not run here: the attention backends are vLLM's classes for GPUs, their pages are in host memory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm", reason="runs in the environment of ./kvasir test --engines")

from engine_process import transfer
from engines import settings

pytestmark = pytest.mark.engine

LAYERS = 4


def configuration(model: Path, device: str = "cuda", kv: dict[str, Any] | None = None, **extra: Any) -> Any:
    """vLLM's own, but for the device."""
    settings()
    from vllm.config import KVTransferConfig
    from vllm.engine.arg_utils import EngineArgs

    made = EngineArgs(
        model=str(model), skip_tokenizer_init=True, enforce_eager=True, max_model_len=4096, block_size=64,
        kv_transfer_config=KVTransferConfig(**(kv or transfer("/nowhere/engine.sock", **extra))),
    ).create_engine_config()  # fmt: skip
    made.device_config.device_type = device
    return made


def spec(block: int = 64, head: int = 32, window: int | None = None) -> Any:
    """Pages of a layer."""
    import torch
    from vllm.v1.kv_cache_interface import FullAttentionSpec, SlidingWindowSpec

    if window:
        return SlidingWindowSpec(
            block_size=block, num_kv_heads=2, head_size=head, dtype=torch.bfloat16, sliding_window=window
        )
    return FullAttentionSpec(block_size=block, num_kv_heads=2, head_size=head, dtype=torch.bfloat16)


def with_layers(config: Any, backend: Any, specs: list[Any]) -> Any:
    """As after the worker has loaded a model in the engine's process."""
    from vllm.model_executor.layers.attention_layer_base import AttentionLayerBase

    class Layer(AttentionLayerBase):  # type: ignore[misc]
        def __init__(self, pages: Any) -> None:
            self._pages = pages

        def get_attn_backend(self) -> Any:
            return backend

        def get_kv_cache_spec(self, vllm_config: Any) -> Any:  # noqa: ARG002
            return self._pages

    config.compilation_config.static_forward_context = {
        f"model.layers.{number}.attn": Layer(pages) for number, pages in enumerate(specs)
    }
    return config


def flash_attention() -> Any:
    from vllm.v1.attention.backends.flash_attn import FlashAttentionBackend

    return FlashAttentionBackend


def chosen(config: Any) -> str:
    """What vLLM chooses, the way its engine does, with what the layers' backends can have."""
    from vllm.distributed.kv_transfer.kv_connector.utils import get_current_attn_backends
    from vllm.v1.attention.backends.utils import get_supported_kv_cache_layouts, resolve_kv_cache_layout

    can = get_supported_kv_cache_layouts(get_current_attn_backends(config))
    layers = config.compilation_config.static_forward_context.values()
    specs = [layer.get_kv_cache_spec(config) for layer in layers]
    return str(resolve_kv_cache_layout(config, [[layout.name for layout in can]], specs).name)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], str]:
    """What the connector logs of the layout: one line."""
    from kvasir_vllm.shared import kvlayout

    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger = logging.Logger("of this test", logging.INFO)
    logger.addHandler(Lines())
    monkeypatch.setattr(kvlayout, "_log", logger)

    def after(config: Any) -> str:
        lines.clear()
        kvlayout.log_layout(config)
        assert len(lines) == 1
        return lines[0]

    return after


def copies_of_a_block(config: Any, specs: list[Any]) -> int:
    """Pages as vLLM allocates them with the layout that it has chosen, as the connector sees them."""
    import torch
    from vllm.v1.core.kv_cache_utils import get_kv_cache_configs
    from vllm.v1.kv_cache_interface import KVCacheLayout
    from vllm.v1.worker.utils import allocate_kv_cache

    from kvasir_vllm.shared.chunks import Chunking
    from kvasir_vllm.worker.pages import layout_of

    names = list(config.compilation_config.static_forward_context)
    pages = dict(zip(names, specs, strict=True))
    made = get_kv_cache_configs(config, [pages], [64 << 20])[0]
    tensors = allocate_kv_cache(made, torch.device("cpu"), KVCacheLayout[config.cache_config.kv_cache_layout])
    groups = tuple(group.kv_cache_spec.block_size for group in made.kv_cache_groups)
    layout, _ = layout_of(config, made, tensors, Chunking(256, 64, groups))
    return max(group.copies_in_block for group in layout.groups)


def test_block_of_all_layers_is_one_copy_where_the_backend_can_have_it(model: Path, said: Any) -> None:
    specs = [spec()] * LAYERS
    config = with_layers(configuration(model), flash_attention(), specs)
    assert chosen(config) == "BLNHC"
    assert copies_of_a_block(config, specs) == 1
    assert said(config) == "Kvasir: KV cache layout BLNHC: a block of all layers is one copy"


def test_option_leaves_the_choice_to_vllm(model: Path, said: Any) -> None:
    specs = [spec()] * LAYERS
    config = with_layers(configuration(model, whole_blocks=False), flash_attention(), specs)
    assert chosen(config) == "LBNHC"
    assert copies_of_a_block(config, specs) == LAYERS
    assert said(config).endswith("layout LBNHC, each layer of a block is a copy of its own: whole_blocks is false")


def test_cpu_is_asked_for_nothing(model: Path, said: Any) -> None:
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    config = with_layers(configuration(model, "cpu"), CPUAttentionBackend, [spec()] * LAYERS)
    assert chosen(config) == "LBHNC"
    assert "layout LBHNC, each layer of a block is a copy of its own: on cpu" in said(config)


def test_second_best_is_taken_where_the_backend_wants_heads_first(model: Path) -> None:
    from vllm.v1.kv_cache_interface import KVCacheLayout

    class HeadsFirst(flash_attention()):  # type: ignore[misc]
        """As FlashInfer is on some GPUs."""

        @classmethod
        def supported_kv_cache_layouts(cls) -> Any:
            return (KVCacheLayout.LBHNC, KVCacheLayout.BLHNC)

    specs = [spec()] * LAYERS
    config = with_layers(configuration(model), HeadsFirst, specs)
    assert chosen(config) == "BLHNC"
    assert copies_of_a_block(config, specs) == 1


def test_backend_that_cannot_have_it_gets_its_own(model: Path, said: Any) -> None:
    from vllm.v1.attention.backends.flex_attention import FlexAttentionBackend

    config = with_layers(configuration(model), FlexAttentionBackend, [spec()] * LAYERS)
    assert chosen(config) == "LBNHC"
    assert said(config).endswith("FLEX_ATTENTION can have LBNHC only")


def test_default_of_the_model_is_asked_where_the_layers_are_in_another_process(model: Path) -> None:
    from kvasir_vllm.shared.kvlayout import wanted_layout

    config = configuration(model)
    assert not config.compilation_config.static_forward_context
    # vLLM's own choice for this machine, which has no GPU.
    assert wanted_layout(config).why == "CPU_ATTN can have LBHNC only"


def test_kernels_that_work_on_parts_of_a_block_get_what_they_can_have(model: Path, said: Any) -> None:
    class Parts(flash_attention()):  # type: ignore[misc]
        """As FlashMLA is, with blocks larger than its own."""

        @staticmethod
        def get_supported_kernel_block_sizes(*_: Any) -> Any:
            return [32]

        @staticmethod
        def get_name() -> str:
            return "PARTS"

    config = with_layers(configuration(model), Parts, [spec()] * LAYERS)
    assert chosen(config) == "LBNHC"
    assert "PARTS works on parts of blocks of 64 tokens" in said(config)


def test_groups_of_several_kinds_are_one_copy_each(model: Path) -> None:
    specs = [spec(), spec(window=512)] * (LAYERS // 2)
    config = with_layers(configuration(model), flash_attention(), specs)
    config.model_config.hf_config.layer_types = ["full_attention", "sliding_attention"] * (LAYERS // 2)
    assert chosen(config) == "BLNHC"
    assert copies_of_a_block(config, specs) == 1


def test_what_the_user_demands_has_precedence(model: Path, said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # An engine that another test started in this process keeps the variables as they were then.
    envs = pytest.importorskip("vllm.envs")
    envs.disable_envs_cache()
    monkeypatch.setenv("VLLM_KV_CACHE_LAYOUT", "LBHNC")
    config = with_layers(configuration(model), flash_attention(), [spec()] * LAYERS)
    assert chosen(config) == "LBHNC"
    assert "BLNHC was asked for, and something else has precedence" in said(config)


def test_connectors_side_by_side_do_not_ask_for_different_layouts(model: Path) -> None:
    both = {
        "kv_connector": "MultiConnector",
        "kv_role": "kv_both",
        "kv_load_failure_policy": "recompute",
        "kv_connector_extra_config": {
            "connectors": [
                transfer("/nowhere/engine.sock"),
                {"kv_connector": "OffloadingConnector", "kv_role": "kv_both"},
            ]
        },
    }
    config = with_layers(configuration(model, kv=both), flash_attention(), [spec()] * LAYERS)
    assert chosen(config) == "LBHNC"


@pytest.mark.parametrize("broken", ["static_forward_context", "nothing of vLLM's is as it was"])
def test_question_that_fails_is_no_reason_not_to_start(model: Path, said: Any, broken: str) -> None:
    config = with_layers(configuration(model), object(), [spec()] * LAYERS)
    if broken != "static_forward_context":
        config.compilation_config = None
    from kvasir_vllm.connector import KvasirConnector

    assert KvasirConnector.get_required_kvcache_layout(config) is None
    assert "what the attention backend can have was not found out" in said(config)
