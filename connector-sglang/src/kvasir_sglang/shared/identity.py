"""Who may share pages with whom: the namespace and the shard of each pool, and the keys of pages."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kvasir import Namespace, Shard
from kvasir.identity import KEY_BYTES

from kvasir_sglang.shared.pages import PoolPages
from kvasir_sglang.shared.weights import Weights

#: SGLang's page hash: SHA-256 over the digest before it and the page's token ids as little-endian uint32, the chain
#: seeded with LoRA adapter and cache salt (``storage_namespace_seed``).
HASH_ALGORITHM: Final = "sglang sha256 page chain, namespace v1"
_HEX_LENGTH: Final = 2 * KEY_BYTES
NO_PARENT: Final = bytes(KEY_BYTES)


def pack(keys: Sequence[str]) -> bytes:
    """n x 32 bytes of SGLang's keys.

    A page hash of 64 hexadecimal digits is taken as it is; any other string (SGLang appends the name of a pool for
    some) is hashed.
    """
    joined = "".join(keys)
    if len(joined) == _HEX_LENGTH * len(keys):
        try:
            packed = bytes.fromhex(joined)
        except ValueError:
            packed = b""
        # fromhex skips spaces, and lengths may even each other out: only then is it looked at key by key.
        if len(packed) == KEY_BYTES * len(keys) and all(len(key) == _HEX_LENGTH for key in keys):
            return packed
    return b"".join(_one(key) for key in keys)


def _one(key: str) -> bytes:
    if len(key) == _HEX_LENGTH:
        try:
            packed = bytes.fromhex(key)
        except ValueError:
            packed = b""
        if len(packed) == KEY_BYTES:
            return packed
    return hashlib.blake2b(key.encode(), digest_size=KEY_BYTES, person=b"kvasir-sglang").digest()


@dataclass(frozen=True)
class Ranks:
    """Where this rank stands, from SGLang's ``HiCacheStorageConfig``.

    Attributes:
        replicated: the model's KV is the same on all tensor-parallel ranks (MLA), and only one of them stores it.
    """

    tp_rank: int = 0
    tp_size: int = 1
    pp_rank: int = 0
    pp_size: int = 1
    cp_rank: int = 0
    cp_size: int = 1
    replicated: bool = False

    @staticmethod
    def of(config: Any) -> Ranks:
        """Reads the storage config.

        Raises:
            ValueError: decode context parallelism, whose pages are split in a way that this version does not know.
        """
        if getattr(config, "dcp_size", 1) > 1:
            raise ValueError(
                f"dcp_size is {config.dcp_size}; Kvasir does not store pages of decode context parallelism"
            )
        return Ranks(
            config.tp_rank, config.tp_size, config.pp_rank, config.pp_size, config.attn_cp_rank, config.attn_cp_size,
            bool(config.is_mla_model),
        )  # fmt: skip

    def shard(self, split: bool) -> Shard:
        """This rank's part of a page; heads are counted in shares of a rank. All ranks share one when not ``split``."""
        head = self.tp_rank if split else 0
        return Shard(
            head_begin=head, head_end=head + 1, pp_rank=self.pp_rank, pp_size=self.pp_size,
            cp_rank=self.cp_rank, cp_size=self.cp_size,
        )  # fmt: skip

    def is_split(self, pool_name: str, pool: Any) -> bool:
        """Whether each tensor-parallel rank has bytes of its own.

        Of a replicated model that is so for Mamba states, and for any pool that has heads: a rank then finds only what
        it stored itself. In doubt a pool counts as split, which is a miss and never another rank's bytes.
        """
        return not self.replicated or pool_name == "mamba" or getattr(pool, "head_num", None) is not None


@dataclass(frozen=True)
class EngineIdentity:
    """What all pools of one engine have in common."""

    ranks: Ranks
    weights: Weights
    page_tokens: int
    generation: int = 0
    extra: dict[str, str] = field(default_factory=dict)

    def namespace(self, pool_name: str, pages: PoolPages, *, split: bool, order: str = "") -> Namespace:
        """Of one pool. Any difference in it is a miss.

        Pages are opaque, so the parallel sizes belong to it; that of tensor parallelism not where ranks hold the same.

        Args:
            pool_name: SGLang's.
            pages: the pool's.
            split: see :meth:`Ranks.is_split`.
            order: of the bytes, when it is not the one in which ``pages`` are stored.
        """
        ranks = self.ranks
        parallel = f"tp={ranks.tp_size if split else 'any'} pp={ranks.pp_size} cp={ranks.cp_size}"
        draft = self.weights.draft if "draft" in pool_name else ""
        return Namespace(
            self.weights.model,
            self.page_tokens,
            weights_digest=self.weights.digest,
            hash_algorithm=HASH_ALGORITHM,
            kv_dtype=pages.dtype,
            quantization=self.weights.quantization,
            layout=f"{pages.fingerprint} {parallel}{order}",
            generation=self.generation,
            extra={
                "engine": "sglang",
                "pool": pool_name,
                "settings": self.weights.settings,
                "draft": draft,
                "adapters": self.weights.adapters,
            },
        )
