"""Writes a small language model with random weights and a tokenizer of words: for the demo with a real engine.

Run by the engine's own Python, which has what it takes: ``python tiny_model.py FOLDER``. The weights are random, and
wide enough that another prompt has another continuation, so answers can be compared.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

VOCABULARY = 2048
HIDDEN, LAYERS, HEADS, KV_HEADS = 512, 8, 8, 2
_SPREAD = 0.08


def write(place: Path) -> None:
    """The configuration, the weights and the tokenizer."""
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers

    place.mkdir(parents=True, exist_ok=True)
    head = HIDDEN // HEADS
    configuration = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": head,
        "max_position_embeddings": 16384,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    (place / "config.json").write_text(json.dumps(configuration, indent=2))
    generator = torch.Generator().manual_seed(20)

    def weight(*shape: int) -> Any:
        return (torch.randn(*shape, generator=generator) * _SPREAD).to(torch.bfloat16)

    def ones() -> Any:
        return torch.ones(HIDDEN, dtype=torch.bfloat16)

    weights = {
        "model.embed_tokens.weight": weight(VOCABULARY, HIDDEN),
        "model.norm.weight": ones(),
        "lm_head.weight": weight(VOCABULARY, HIDDEN),
    }
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        weights |= {
            f"{prefix}.input_layernorm.weight": ones(),
            f"{prefix}.post_attention_layernorm.weight": ones(),
            f"{prefix}.self_attn.q_proj.weight": weight(HIDDEN, HIDDEN),
            f"{prefix}.self_attn.k_proj.weight": weight(KV_HEADS * head, HIDDEN),
            f"{prefix}.self_attn.v_proj.weight": weight(KV_HEADS * head, HIDDEN),
            f"{prefix}.self_attn.o_proj.weight": weight(HIDDEN, HIDDEN),
            f"{prefix}.mlp.gate_proj.weight": weight(2 * HIDDEN, HIDDEN),
            f"{prefix}.mlp.up_proj.weight": weight(2 * HIDDEN, HIDDEN),
            f"{prefix}.mlp.down_proj.weight": weight(HIDDEN, 2 * HIDDEN),
        }
    save_file(weights, str(place / "model.safetensors"), metadata={"format": "pt"})
    words = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"w{number}": number for number in range(3, VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(place / "tokenizer.json"))
    (place / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "unk_token": "<unk>",
                "bos_token": "<s>",
                "eos_token": "</s>",
                "chat_template": "{% for message in messages %}{{ message['content'] }} {% endfor %}",
            }
        )
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]))
