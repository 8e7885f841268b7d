"""Writes a small Llama with random weights: real computation, so that another prompt or other KV gives other tokens.

``load_format="dummy"`` would not do: with its weights every prompt has the same continuation, and no test could fail.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

VOCABULARY = 1024
HIDDEN, LAYERS, HEADS, KV_HEADS = 256, 4, 4, 2


def write_model(place: Path, *, seed: int = 1, layers: int = LAYERS, hidden: int = HIDDEN, **changes: Any) -> Path:
    """A folder that vLLM loads as a model; another seed is another model."""
    import torch
    from safetensors.torch import save_file

    place.mkdir(parents=True, exist_ok=True)
    configuration: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": hidden // HEADS,
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

    head = hidden // HEADS
    weights = {
        "model.embed_tokens.weight": weight(VOCABULARY, hidden),
        "model.norm.weight": torch.ones(hidden, dtype=torch.bfloat16),
        "lm_head.weight": weight(VOCABULARY, hidden),
    }
    for layer in range(layers):
        prefix = f"model.layers.{layer}"
        weights |= {
            f"{prefix}.input_layernorm.weight": torch.ones(hidden, dtype=torch.bfloat16),
            f"{prefix}.post_attention_layernorm.weight": torch.ones(hidden, dtype=torch.bfloat16),
            f"{prefix}.self_attn.q_proj.weight": weight(HEADS * head, hidden),
            f"{prefix}.self_attn.k_proj.weight": weight(KV_HEADS * head, hidden),
            f"{prefix}.self_attn.v_proj.weight": weight(KV_HEADS * head, hidden),
            f"{prefix}.self_attn.o_proj.weight": weight(hidden, HEADS * head),
            f"{prefix}.mlp.gate_proj.weight": weight(2 * hidden, hidden),
            f"{prefix}.mlp.up_proj.weight": weight(2 * hidden, hidden),
            f"{prefix}.mlp.down_proj.weight": weight(hidden, 2 * hidden),
        }
    save_file(weights, str(place / "model.safetensors"), metadata={"format": "pt"})
    return place
