"""Which weights an engine runs: a digest of the configuration and of the weight files' headers and samples.

The name under which a model is served is anybody's choice, and two engines that call different weights by one name must
not exchange pages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kvasir.weights import digest, directory_of

_SUFFIXES: Final = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
_HEADER_BYTES: Final = 1 << 20
_SAMPLES: Final = 16
_SAMPLE_BYTES: Final = 4096

#: Server arguments that change what keys and values a model computes, or how they are coded.
_SETTINGS: Final = (
    "dtype", "kv_cache_dtype", "quantization_param_path", "json_model_override_args", "rope_scaling",
    "enable_fp32_lm_head", "modelopt_quant", "load_format",
)  # fmt: skip


class UnknownWeightsError(ValueError):
    """Nothing says which weights the engine runs."""


@dataclass(frozen=True)
class Weights:
    """A model and its weights, as far as they decide about its keys and values.

    Attributes:
        model: for people; the path or id, or the user's own name.
        digest: 32 bytes over the files; empty when the user named them.
        quantization: of the weights.
        settings: server arguments that change keys and values.
        draft: digest of the draft model, in hexadecimal, for its pools.
    """

    model: str
    digest: bytes = b""
    quantization: str = ""
    settings: str = ""
    draft: str = ""


def digest_of(directory: Path) -> bytes:
    """Digest of a directory of weights. The same files give the same digest on every machine.

    Raises:
        UnknownWeightsError: there are no weights in it.
    """
    files = [
        path
        for path in directory.rglob("*")
        if path.is_file() and (path.suffix in _SUFFIXES or path.name == "config.json")
    ]
    if not any(path.suffix in _SUFFIXES for path in files):
        raise UnknownWeightsError(f"{directory} holds no weights ({', '.join(_SUFFIXES)})")
    return digest(directory, files, hashlib.blake2b(digest_size=32, person=b"kvasir-weights"), _samples)


def _samples(size: int) -> Iterator[tuple[int, int]]:
    yield 0, _HEADER_BYTES
    for sample in range(1, _SAMPLES + 1):
        yield max(0, size * sample // _SAMPLES - _SAMPLE_BYTES), _SAMPLE_BYTES


def _directory(model_path: str, revision: str | None) -> Path:
    found = directory_of(model_path, revision)
    if found is None:
        raise UnknownWeightsError(f"{model_path} is no directory, and not in the hub's cache")
    return found


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
    if own_name:
        return Weights(own_name, b"", quantization, settings, str(draft_path or ""))
    model_path = getattr(server_args, "model_path", None)
    if not model_path:
        raise UnknownWeightsError("nothing says which weights this engine runs")
    weights = digest_of(_directory(model_path, getattr(server_args, "revision", None)))
    draft = ""
    if draft_path:
        draft = digest_of(_directory(draft_path, getattr(server_args, "speculative_draft_model_revision", None))).hex()
    return Weights(Path(model_path).name, weights, quantization, settings, draft)
