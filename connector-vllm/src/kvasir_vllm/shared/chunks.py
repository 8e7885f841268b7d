"""How blocks make up chunks, and which of the engine's hashes is a chunk's key."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from kvasir.engine.options import ConfigurationError

KEY_BYTES = 32
DEFAULT_CHUNK_TOKENS = 256


def chunk_tokens_of(block_tokens: int, wanted: int) -> int:
    """Tokens of a chunk: ``wanted``, or the smallest multiple of the block with at least 256.

    Args:
        block_tokens: the unit in which the engine reports how much it has computed.
        wanted: 0 for the default.

    Raises:
        ConfigurationError: ``wanted`` is no multiple of the block.
    """
    if not wanted:
        return -(-DEFAULT_CHUNK_TOKENS // block_tokens) * block_tokens
    if wanted % block_tokens:
        raise ConfigurationError(
            f"chunk_tokens is {wanted}; it must be a multiple of the engine's block of {block_tokens} tokens"
        )
    return wanted


def key_of(block_hash: bytes) -> bytes:
    """The key for one of the engine's hashes: itself when it has 32 bytes, else its SHA-256."""
    return block_hash if len(block_hash) == KEY_BYTES else hashlib.sha256(block_hash).digest()


@dataclass(frozen=True)
class Chunking:
    """Sizes of one engine, all in tokens.

    Attributes:
        chunk: of a chunk.
        hashed: of the run of tokens that one of the engine's hashes stands for.
        blocks: of each KV group's block.
    """

    chunk: int
    hashed: int
    blocks: tuple[int, ...]

    def __post_init__(self) -> None:
        if any(self.chunk % size for size in (self.hashed, *self.blocks)):
            raise ConfigurationError(
                f"chunks of {self.chunk} tokens do not hold whole blocks of {self.blocks} and hashes of {self.hashed}"
            )

    def blocks_in_chunk(self, group: int) -> int:
        """Blocks of this group in a chunk."""
        return self.chunk // self.blocks[group]

    def whole_chunks(self, hashes: Sequence[bytes]) -> int:
        """Chunks whose key is known."""
        return len(hashes) * self.hashed // self.chunk

    def keys(self, hashes: Sequence[bytes], first: int, end: int) -> bytes:
        """Packed keys of chunks ``first`` to ``end`` (exclusive): the hash of each one's last tokens."""
        step = self.chunk // self.hashed
        return b"".join([key_of(hashes[index]) for index in range((first + 1) * step - 1, end * step, step)])

    def parents(self, hashes: Sequence[bytes], first: int, end: int) -> bytes:
        """Packed keys of the chunks before each of them; zeros before the first of a prompt."""
        if first:
            return self.keys(hashes, first - 1, end - 1)
        return bytes(KEY_BYTES) + self.keys(hashes, 0, end - 1)
