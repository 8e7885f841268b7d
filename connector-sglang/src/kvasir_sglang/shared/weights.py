"""Which weights an engine runs: a digest of the files of its model and of its adapters, and the settings beside them.

The name under which a model is served is anybody's choice, and two engines that call different weights by one name must
not exchange pages.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kvasir.engine.weights import UnknownWeightsError, digest_of_adapter, digest_of_model

from kvasir_sglang.shared.metrics import logger

#: Server arguments that change what keys and values a model computes, or how they are coded.
_SETTINGS: Final = (
    "dtype", "kv_cache_dtype", "quantization_param_path", "json_model_override_args", "rope_scaling",
    "enable_fp32_lm_head", "modelopt_quant", "load_format",
)  # fmt: skip


@dataclass(frozen=True)
class Weights:
    """A model and its weights, as far as they decide about its keys and values.

    Attributes:
        model: for people; the path or id, or the user's own name.
        digest: 32 bytes over the files; empty when the user named them.
        quantization: of the weights.
        settings: server arguments that change keys and values.
        draft: digest of the draft model, in hexadecimal, for its pools.
        adapters: digest of the LoRA adapters that the engine starts with, in hexadecimal; empty without any.
    """

    model: str
    digest: bytes = b""
    quantization: str = ""
    settings: str = ""
    draft: str = ""
    adapters: str = ""


def _say(text: str) -> None:
    logger.info("Kvasir: %s", text)


def _adapters_of(server_args: Any) -> str:
    """Digest of the adapters of ``--lora-paths``.

    SGLang's page hashes tell these apart by name and path alone, which another engine may give to other files. Those
    that are loaded later have a random id instead, which no other engine has.
    """
    if getattr(server_args, "enable_lora", None) is False:
        return ""
    try:
        found = sorted(f"{digest_of_adapter(path, _say).hex()} {name}={path}" for name, path in _named(server_args))
    except UnknownWeightsError as error:
        logger.warning("Kvasir: this engine shares pages with no other: of a LoRA adapter, %s", error)
        return uuid.uuid4().hex
    return hashlib.sha256("\n".join(found).encode()).hexdigest() if found else ""


def _named(server_args: Any) -> Iterator[tuple[str, str]]:
    given = getattr(server_args, "lora_paths", None) or ()
    for one in given.items() if isinstance(given, dict) else given:
        if isinstance(one, str):
            name, _, path = one.partition("=")
            yield name, path or name
        elif isinstance(one, tuple):
            yield str(one[0]), str(one[1])
        elif isinstance(one, dict):
            yield str(one["lora_name"]), str(one["lora_path"])
        else:
            yield str(one.lora_name), str(one.lora_path)


def weights_of(server_args: Any, own_name: str) -> Weights:
    """Of the engine with these server arguments.

    Args:
        server_args: SGLang's ``ServerArgs``, or None where there are none.
        own_name: the user's name for model and weights; empty: the files decide.

    Raises:
        UnknownWeightsError: neither says which weights they are.
    """
    quantization = str(getattr(server_args, "quantization", None) or "")
    settings = " ".join(
        f"{name}={getattr(server_args, name)}" for name in _SETTINGS if getattr(server_args, name, None) is not None
    )
    draft_path = getattr(server_args, "speculative_draft_model_path", None)
    adapters = _adapters_of(server_args)
    if own_name:
        return Weights(own_name, b"", quantization, settings, str(draft_path or ""), adapters)
    model_path = getattr(server_args, "model_path", None)
    if not model_path:
        raise UnknownWeightsError("nothing says which weights this engine runs")
    weights = digest_of_model(model_path, getattr(server_args, "revision", None), _say)
    draft = ""
    if draft_path:
        revision = getattr(server_args, "speculative_draft_model_revision", None)
        draft = digest_of_model(draft_path, revision, _say).hex()
    return Weights(Path(model_path).name, weights, quantization, settings, draft, adapters)
