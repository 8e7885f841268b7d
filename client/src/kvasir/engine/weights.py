"""Which weights an engine runs: a digest of the files themselves, the same for every connector.

A model's or an adapter's name is anybody's choice, and files are written anew under the same path. So names count for
nothing here, and every byte of a file that decides about keys and values counts.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from kvasir.engine._digests import DigestCache, Say, sha256_of

#: What engines load weights from.
WEIGHT_SUFFIXES: Final = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
#: Configuration, the index of the weights, scales; and a model's own code.
_OTHER_SUFFIXES: Final = (".json", ".py")
#: Decide which tokens a prompt has, which is in its hashes, or are a trainer's: no engine reads weights from them.
_NOT_THE_MODEL: Final = frozenset({
    "added_tokens.json", "chat_template.json", "generation_config.json", "special_tokens_map.json",
    "trainer_state.json", "vocab.json", "optimizer.bin", "optimizer.pt", "scaler.pt", "scheduler.pt",
    "training_args.bin",
})  # fmt: skip
_NOT_THE_MODEL_PREFIXES: Final = ("tokenizer", "rng_state")
_OTHER_FOLDERS: Final = ("original", "checkpoint-", ".", "__pycache__")


class UnknownWeightsError(ValueError):
    """Nothing says which weights the engine runs."""


def directory_of(model: str, revision: str | None) -> Path | None:
    """Where a model's files are: a directory, or a repository's snapshot in the Hugging Face cache. None: nowhere."""
    try:
        place = Path(model).expanduser()
        if place.is_dir():
            return place
    except (RuntimeError, ValueError, OSError):  # a user without a home, or no path at all
        return None
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(model, revision=revision, local_files_only=True))
    except Exception:  # not installed, not cached, or no name of a repository: each version says it in its own way
        return None


def digest_of_model(model: str, revision: str | None, say: Say = lambda _: None) -> bytes:
    """Digest of a model: 32 bytes, the same on every machine and for every engine.

    Args:
        model: a folder, or a repository's name whose files are in the Hugging Face cache.
        revision: of the repository.
        say: gets a line now and then when it takes long.

    Raises:
        UnknownWeightsError: the files are nowhere, hold no weights, cannot be read, or are being written.
    """
    directory = directory_of(model, revision)
    if directory is None:
        raise UnknownWeightsError(f"{model} is no directory, and not in the hub's cache")
    return digest_of(directory, say)


def digest_of(directory: Path, say: Say = lambda _: None, cache: DigestCache | None = None) -> bytes:
    """Digest of a folder of weights, those in folders below it included; see :func:`digest_of_model`."""
    try:
        files = sorted(_model_files(directory))
    except OSError as error:
        raise UnknownWeightsError(f"the weights in {directory} cannot be read: {error}") from error
    return _digest(directory, files, say, cache)


def digest_of_adapter(path: str, say: Say = lambda _: None, cache: DigestCache | None = None) -> bytes:
    """Digest of a LoRA adapter's weights and configuration.

    Args:
        path: a folder, or a repository's name whose files are in the Hugging Face cache.
        say: gets a line now and then when it takes long.
        cache: None: the user's.

    Raises:
        UnknownWeightsError: as with a model.
    """
    directory = directory_of(path, None)
    if directory is None:
        raise UnknownWeightsError(f"{path} is no directory, and not in the hub's cache")
    try:
        files = [
            file for file in sorted(directory.iterdir())
            if file.stem in {"adapter_config", "adapter_model", "new_embeddings"}
            and file.suffix in (*WEIGHT_SUFFIXES, ".json")
        ]  # fmt: skip
    except OSError as error:
        raise UnknownWeightsError(f"the adapter in {path} cannot be read: {error}") from error
    return _digest(directory, files, say, cache)


def _model_files(directory: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise error

    seen: set[tuple[int, int]] = set()
    for folder, below, names in os.walk(directory, onerror=fail, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:  # a link to a folder above
            below.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        below[:] = sorted(name for name in below if not name.startswith(_OTHER_FOLDERS))
        for name in names:
            if (
                name.endswith((*WEIGHT_SUFFIXES, *_OTHER_SUFFIXES))
                and name not in _NOT_THE_MODEL
                and not name.startswith((".", *_NOT_THE_MODEL_PREFIXES))
            ):
                yield Path(folder) / name


def _digest(directory: Path, files: Sequence[Path], say: Say, cache: DigestCache | None) -> bytes:
    if not any(file.suffix in WEIGHT_SUFFIXES for file in files):
        raise UnknownWeightsError(f"{directory} holds no weights ({', '.join(WEIGHT_SUFFIXES)})")
    total = hashlib.sha256(b"kvasir weights 2\n")
    try:
        for file, digest in zip(files, sha256_of(files, say, cache), strict=True):
            total.update(f"{digest.hex()} {file.relative_to(directory)}\n".encode())
    except OSError as error:
        raise UnknownWeightsError(f"the weights in {directory} cannot be read: {error}") from error
    return total.digest()
