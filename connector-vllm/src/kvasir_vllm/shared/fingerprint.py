"""The namespace of an engine: everything that must be equal before another engine's bytes are its own."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvasir import Namespace
from kvasir.engine.weights import UnknownWeightsError, digest_of_model

from kvasir_vllm.shared.options import ConnectorOptions

_log = logging.getLogger("vllm.kvasir")
#: Load formats whose weights are those files; others bring them from elsewhere.
_FROM_FILES = frozenset({
    "auto", "hf", "safetensors", "fastsafetensors", "instanttensor", "mistral", "npcache", "pt", "bitsandbytes", "gguf",
    "runai_streamer", "runai_streamer_sharded", "sharded_state", "dummy",
})  # fmt: skip
_NOT_THE_MODEL = frozenset({"_name_or_path", "transformers_version"})
_REPRODUCIBLE = frozenset({"sha256", "sha256_cbor"})


@dataclass(frozen=True)
class Identity:
    """A namespace, and why it is this engine's alone when it is."""

    namespace: Namespace
    private: str


def identity_of(vllm_config: Any, layout: str, chunk_tokens: int, options: ConnectorOptions) -> Identity:
    """The engine's namespace, from its real configuration.

    Args:
        vllm_config: vLLM's.
        layout: what the workers said about their pages.
        chunk_tokens: of a chunk.
        options: may name the model and its weights.
    """
    model, cache = vllm_config.model_config, vllm_config.cache_config
    algorithm = str(cache.prefix_caching_hash_algo)
    # An unset seed is a constant of vLLM with cryptographic hashes, and random with the others.
    seed = os.environ.get("PYTHONHASHSEED") or "unset"
    private = ""
    if algorithm not in _REPRODUCIBLE and seed == "unset":
        private = (
            f"block hashes made with {algorithm} differ in every process while PYTHONHASHSEED is unset; "
            "use --prefix-caching-hash-algo sha256, or set PYTHONHASHSEED to the same value everywhere"
        )
    if options.weights_digest:
        weights = hashlib.sha256(options.weights_digest.encode()).digest()
    else:
        weights, unknown = weights_digest(model.model, getattr(model, "revision", None))
        private = private or unknown
        if str(vllm_config.load_config.load_format) not in _FROM_FILES:
            private = private or (
                f"where load_format {vllm_config.load_config.load_format} has its weights from is not known; "
                "set weights_digest"
            )
    extra = {
        "dtype": str(model.dtype),
        "configuration": _digest_of(
            {name: value for name, value in model.hf_config.to_dict().items() if name not in _NOT_THE_MODEL}
        ),
        "load_format": str(vllm_config.load_config.load_format),
    }
    if str(vllm_config.load_config.load_format) == "dummy":
        private = private or "weights of load_format dummy are not the model's"
    if private:
        extra["private"] = uuid.uuid4().hex
    return Identity(
        Namespace(
            model=options.model or (Path(model.model).name if Path(model.model).is_dir() else str(model.model)),
            chunk_tokens=chunk_tokens,
            weights_digest=weights,
            hash_algorithm=f"vllm {algorithm}",
            hash_seed=seed,
            kv_dtype=str(cache.cache_dtype),
            quantization=str(model.quantization or ""),
            layout=layout,
            generation=options.generation,
            extra=extra,
        ),
        private,
    )


def weights_digest(model: str, revision: str | None) -> tuple[bytes, str]:
    """A digest of a model's files. And why it is unknown, or nothing.

    Args:
        model: a folder, or a repository's name whose files are in the Hugging Face cache.
        revision: of the repository.
    """
    try:
        return digest_of_model(model, revision, lambda text: _log.info("Kvasir: %s", text)), ""
    except UnknownWeightsError as error:
        return b"", f"{error}, so its weights have no digest; set weights_digest"


def _digest_of(values: Any) -> str:
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
