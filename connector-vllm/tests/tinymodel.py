"""Writes a small Llama with random weights: real computation, so that another prompt or other KV gives other tokens.

``load_format="dummy"`` would not do: with its weights every prompt has the same continuation, and no test could fail.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

VOCABULARY = 1024
HIDDEN, LAYERS, HEADS, KV_HEADS = 256, 4, 4, 2


def write_model(
    place: Path,
    *,
    seed: int = 1,
    layers: int = LAYERS,
    hidden: int = HIDDEN,
    heads: int = HEADS,
    kv_heads: int = KV_HEADS,
    intermediate: int = 0,
    vocabulary: int = VOCABULARY,
    **changes: Any,
) -> Path:
    """A folder that vLLM loads as a model; another seed is another model. ``changes`` go into its configuration."""
    import torch
    from safetensors.torch import save_file

    place.mkdir(parents=True, exist_ok=True)
    head = hidden // heads
    inner = intermediate or 2 * hidden
    configuration: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "bos_token_id": 1,
        "eos_token_id": 2,
    } | changes
    (place / "config.json").write_text(json.dumps(configuration))
    generator = torch.Generator().manual_seed(seed)

    def weight(*shape: int) -> Any:
        return (torch.randn(*shape, generator=generator) * 0.12).to(torch.bfloat16)

    weights = {
        "model.embed_tokens.weight": weight(vocabulary, hidden),
        "model.norm.weight": torch.ones(hidden, dtype=torch.bfloat16),
        "lm_head.weight": weight(vocabulary, hidden),
    }
    for layer in range(layers):
        prefix = f"model.layers.{layer}"
        weights |= {
            f"{prefix}.input_layernorm.weight": torch.ones(hidden, dtype=torch.bfloat16),
            f"{prefix}.post_attention_layernorm.weight": torch.ones(hidden, dtype=torch.bfloat16),
            f"{prefix}.self_attn.q_proj.weight": weight(heads * head, hidden),
            f"{prefix}.self_attn.k_proj.weight": weight(kv_heads * head, hidden),
            f"{prefix}.self_attn.v_proj.weight": weight(kv_heads * head, hidden),
            f"{prefix}.self_attn.o_proj.weight": weight(hidden, heads * head),
            f"{prefix}.mlp.gate_proj.weight": weight(inner, hidden),
            f"{prefix}.mlp.up_proj.weight": weight(inner, hidden),
            f"{prefix}.mlp.down_proj.weight": weight(hidden, inner),
        }
    save_file(weights, str(place / "model.safetensors"), metadata={"format": "pt"})
    return place


def write_adapter(place: Path, *, seed: int = 1, rank: int = 8, strength: float = 0.5) -> Path:
    """A folder that vLLM loads as a LoRA adapter of such a model: it changes keys and values of every layer."""
    import torch
    from safetensors.torch import save_file

    place.mkdir(parents=True, exist_ok=True)
    outputs = {"q_proj": HIDDEN, "k_proj": KV_HEADS * HIDDEN // HEADS, "v_proj": KV_HEADS * HIDDEN // HEADS}
    configuration = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": 2 * rank, "lora_dropout": 0.0,
        "bias": "none", "target_modules": list(outputs), "base_model_name_or_path": "tiny",
    }  # fmt: skip
    (place / "adapter_config.json").write_text(json.dumps(configuration))
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for layer in range(LAYERS):
        for name, rows in outputs.items():
            prefix = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            weights[f"{prefix}.lora_A.weight"] = torch.randn(rank, HIDDEN, generator=generator) * strength
            weights[f"{prefix}.lora_B.weight"] = torch.randn(rows, rank, generator=generator) * strength
    save_file(weights, str(place / "adapter_model.safetensors"), metadata={"format": "pt"})
    return place
