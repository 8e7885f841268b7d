"""What names bytes: namespaces, shards, hit rules and keys. Engines build these; calls send them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from kvasir import _engine_pb2 as pb
from kvasir.errors import InvalidArgumentError

KEY_BYTES: Final = 32

#: Keys of a call: n x 32 packed bytes, or an iterable of 32-byte hashes (slower).
Keys = bytes | bytearray | memoryview | Iterable[bytes]


def pack_keys(keys: Keys) -> bytes:
    """n x 32 packed bytes; refuses another length."""
    if isinstance(keys, bytes):
        packed = keys
    elif isinstance(keys, bytearray | memoryview):
        packed = bytes(keys)
    else:
        parts = list(keys)
        for index, part in enumerate(parts):
            if len(part) != KEY_BYTES:
                raise InvalidArgumentError(f"key {index} has {len(part)} bytes; a key has {KEY_BYTES}")
        packed = b"".join(parts)
    if len(packed) % KEY_BYTES:
        raise InvalidArgumentError(f"keys have {len(packed)} bytes together; that is no multiple of {KEY_BYTES}")
    return packed


@dataclass(frozen=True)
class Namespace:
    """Everything that must be equal before two engines may exchange bytes, rank and parallel size excepted.

    The node adds the tenant. ``layout`` is the layout fingerprint; ``generation`` grows with a weight update or a
    cache reset that means "forget". ``extra`` holds further named fields.
    """

    model: str
    chunk_tokens: int
    weights_digest: bytes = b""
    hash_algorithm: str = ""
    hash_seed: str = ""
    kv_dtype: str = ""
    quantization: str = ""
    layout: str = ""
    lora: str = ""
    generation: int = 0
    extra: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "extra", MappingProxyType(dict(self.extra)))

    def message(self) -> pb.Namespace:
        """As the schema spells it."""
        return pb.Namespace(
            model=self.model,
            chunk_tokens=self.chunk_tokens,
            weights_digest=self.weights_digest,
            hash_algorithm=self.hash_algorithm,
            hash_seed=self.hash_seed,
            kv_dtype=self.kv_dtype,
            quantization=self.quantization,
            layout=self.layout,
            lora=self.lora,
            generation=self.generation,
            extra=dict(self.extra),
        )


@dataclass(frozen=True)
class Shard:
    """The part of a chunk that one rank owns. Ranges are half-open."""

    layer_begin: int = 0
    layer_end: int = 1
    head_begin: int = 0
    head_end: int = 1
    kv_group: int = 0
    pp_rank: int = 0
    pp_size: int = 1
    cp_rank: int = 0
    cp_size: int = 1

    def message(self) -> pb.Shard:
        """As the schema spells it."""
        return pb.Shard(**vars(self))

    @staticmethod
    def of(message: pb.Shard) -> Shard:
        """From an answer."""
        return Shard(**{name: getattr(message, name) for name in Shard.__dataclass_fields__})


@dataclass(frozen=True)
class GroupRule:
    """When a prefix is a hit for one KV group: every chunk (``window_chunks`` 0), or only the last ones."""

    kv_group: int
    window_chunks: int = 0

    def message(self) -> pb.GroupRule:
        """As the schema spells it."""
        hit = pb.GroupRule.TRAILING_WINDOW if self.window_chunks else pb.GroupRule.ALL_CHUNKS
        return pb.GroupRule(kv_group=self.kv_group, hit=hit, window_chunks=self.window_chunks)
