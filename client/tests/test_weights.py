from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvasir.weights import digest, directory_of


def ends(size: int) -> Iterator[tuple[int, int]]:
    yield 0, 4
    yield max(0, size - 4), 4


def digest_of(directory: Path) -> bytes:
    return digest(directory, directory.rglob("*.bin"), hashlib.sha256(), ends)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.bin").write_bytes(bytes(range(100)))
    (tmp_path / "deep" / "b.bin").write_bytes(b"bytes")
    return tmp_path


def test_a_digest_is_of_names_sizes_and_samples(model: Path) -> None:
    read = b"a.bin 100\n" + bytes(range(4)) + bytes(range(96, 100)) + b"deep/b.bin 5\n" + b"byte" + b"ytes"
    assert digest_of(model) == hashlib.sha256(read).digest()


def test_what_is_not_sampled_does_not_count(model: Path) -> None:
    before = digest_of(model)
    content = bytearray((model / "a.bin").read_bytes())
    content[50] ^= 1
    (model / "a.bin").write_bytes(content)
    assert digest_of(model) == before
    content[99] ^= 1
    (model / "a.bin").write_bytes(content)
    assert digest_of(model) != before


def test_a_model_that_is_nowhere_has_no_directory(model: Path) -> None:
    assert directory_of(str(model), None) == model
    assert directory_of("nobody/has-this", None) is None
