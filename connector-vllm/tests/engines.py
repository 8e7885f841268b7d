"""A real vLLM engine on the CPU, as the tests and the benchmarks start it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

#: Set before vLLM is imported: no network, no pinning of threads, and no compiler run at the first request.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


def settings(**changes: str) -> None:
    """Puts the environment's variables in place; ``changes`` add to them."""
    os.environ.update(ENVIRONMENT | changes)


def start(model: Path, transfer: dict[str, Any] | None = None, **changes: Any) -> Any:
    """An engine in this process, workers included unless ``VLLM_ENABLE_V1_MULTIPROCESSING`` says otherwise."""
    settings(VLLM_ENABLE_V1_MULTIPROCESSING=os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING", "0"))
    from vllm import LLM
    from vllm.config import KVTransferConfig

    options: dict[str, Any] = {
        "model": str(model),
        "skip_tokenizer_init": True,
        "enforce_eager": True,
        "dtype": "bfloat16",
        "max_model_len": 4096,
        "block_size": 32,
        "max_num_seqs": 16,
        "kv_cache_memory_bytes": 64 << 20,
        "disable_log_stats": True,
        "seed": 0,
    }
    if transfer is not None:
        options["kv_transfer_config"] = KVTransferConfig(**transfer)
    return LLM(**(options | changes))


def generate(
    engine: Any,
    prompts: list[list[int]],
    tokens: int = 12,
    params: dict[str, Any] | None = None,
    lora: dict[str, Any] | None = None,
) -> list[Any]:
    """Greedy continuations; vLLM's request outputs.

    ``params`` are each request's ``kv_transfer_params``, ``lora`` the fields of its ``LoRARequest``.
    """
    from vllm import SamplingParams
    from vllm.inputs import TokensPrompt

    sampling = SamplingParams(
        temperature=0.0, max_tokens=tokens, ignore_eos=True, detokenize=False, logprobs=1,
        extra_args={"kv_transfer_params": params} if params else None,
    )  # fmt: skip
    inputs = [TokensPrompt(prompt_token_ids=prompt) for prompt in prompts]
    adapter = None
    if lora is not None:
        from vllm.lora.request import LoRARequest

        adapter = LoRARequest(**lora)
    found: list[Any] = engine.generate(inputs, sampling, use_tqdm=False, lora_request=adapter)
    return found


def tokens_of(outputs: list[Any]) -> list[list[int]]:
    """What was generated, for each request."""
    return [list(output.outputs[0].token_ids) for output in outputs]
