"""How blocks make up chunks, and the keys of chunks."""

from __future__ import annotations

import pytest
from kvasir.engine.options import ConfigurationError

from kvasir_vllm.shared.chunks import Chunking, chunk_tokens_of, key_of


@pytest.mark.parametrize(("block", "chunk"), [(16, 256), (32, 256), (96, 288), (128, 256), (256, 256), (1024, 1024)])
def test_chunk_is_the_smallest_multiple_of_the_block_with_256_tokens(block: int, chunk: int) -> None:
    assert chunk_tokens_of(block, 0) == chunk


def test_chunk_may_be_one_block_and_nothing_between_two() -> None:
    assert chunk_tokens_of(16, 16) == 16
    with pytest.raises(ConfigurationError, match="multiple of the engine's block of 16"):
        chunk_tokens_of(16, 24)


def test_key_of_a_chunk_is_the_hash_of_its_last_block() -> None:
    hashes = [bytes([number]) * 32 for number in range(10)]
    chunking = Chunking(64, 16, (16,))
    assert chunking.whole_chunks(hashes) == 2
    assert chunking.keys(hashes, 0, 2) == hashes[3] + hashes[7]
    assert chunking.parents(hashes, 0, 2) == bytes(32) + hashes[3]
    assert chunking.parents(hashes, 1, 2) == hashes[3]


def test_hash_of_another_length_becomes_a_key_of_32_bytes() -> None:
    assert key_of(b"a" * 32) == b"a" * 32
    assert len(key_of(b"a" * 16)) == 32
    assert key_of(b"a" * 16) != key_of(b"b" * 16)
