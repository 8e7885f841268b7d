"""Which weights an engine runs, told by their files: sizes, and samples of what is in them.

A model's name is anybody's choice, and two engines that call different weights by one name must not exchange KV. What
is sampled differs by engine, and stays as it is: another digest would make what is stored unreachable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol


class Hash(Protocol):
    """What :mod:`hashlib` makes."""

    def update(self, data: bytes, /) -> None:
        """Takes bytes in."""
        ...

    def digest(self) -> bytes:
        """Of all that was taken in."""
        ...


def directory_of(model: str, revision: str | None) -> Path | None:
    """Where a model's files are: a directory, or a repository's snapshot in the Hugging Face cache. None: nowhere."""
    place = Path(model)
    if place.is_dir():
        return place
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(model, revision=revision, local_files_only=True))
    except Exception:  # not installed, not cached, or no name of a repository: each version says it in its own way
        return None


def digest(
    directory: Path, files: Iterable[Path], total: Hash, samples: Callable[[int], Iterable[tuple[int, int]]]
) -> bytes:
    """Digest of files in ``directory``. The same files give the same digest on every machine.

    Args:
        directory: names in the digest are relative to it.
        files: in any order.
        total: an empty hash.
        samples: offset and length of each part to read of a file with so many bytes.
    """
    for path in sorted(files):
        size = path.stat().st_size
        total.update(f"{path.relative_to(directory)} {size}\n".encode())
        with path.open("rb") as file:
            for offset, length in samples(size):
                file.seek(offset)
                total.update(file.read(length))
    return total.digest()
