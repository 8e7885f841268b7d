"""What a pool of pages is to a load or a store: where the bytes of each page lie, and what distinguishes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from kvasir import Deadline, Pieces

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

#: What distinguishes two pools' bytes beyond the lengths of their runs, as far as a pool has it.
_GEOMETRY: Final = (
    "layer_num", "start_layer", "end_layer", "head_num", "head_group_num", "head_dim", "v_head_dim", "kv_lora_rank",
    "qk_rope_head_dim", "kv_cache_dim", "dsa_kv_cache_store_fp8", "num_mamba_layers", "temporal_dtype", "conv_dtype",
    "temporal_state_shape", "conv_state_shapes", "storage_format_tag",
)  # fmt: skip


class PageError(ValueError):
    """Indices that are not those of whole pages of the pool, or a pool whose pages cannot be addressed."""


def name_of(pool_name: Any) -> str:
    """A pool's name: SGLang has an enumeration, and names of its own for what a user adds."""
    return str(getattr(pool_name, "value", pool_name))


def dtype_of(pool: Any) -> str:
    """The data type's name."""
    return str(getattr(pool, "dtype", "")).removeprefix("torch.")


def geometry_of(pool: Any) -> dict[str, Any]:
    """What distinguishes a pool's bytes, as far as the pool has it."""
    return {name: getattr(pool, name) for name in _GEOMETRY if getattr(pool, name, None) is not None}


def fingerprint(
    kind: str, layout: str, order: str, page_tokens: int, lengths: Iterable[int], geometry: dict[str, Any]
) -> str:
    """Everything about the order of the bytes inside a page's object.

    Args:
        kind: the pool's class.
        layout: the pool's.
        order: how the object is made of the page.
        page_tokens: of a page.
        lengths: bytes of the runs that the page consists of.
        geometry: what else distinguishes the bytes.
    """
    return " ".join(
        (
            f"sglang pool={kind} layout={layout} order={order}",
            f"page={page_tokens} runs={'+'.join(map(str, lengths))}",
            *(f"{name}={value}" for name, value in geometry.items()),
        )
    )


class Destination:
    """Where a load goes. ``finish`` is called once the copies have stopped, with what arrived."""

    def __init__(self, pieces: Pieces, finish: Callable[[Bools, Deadline], Bools] | None = None) -> None:
        self.pieces = pieces
        self._finish = finish

    def finish(self, loaded: Bools, deadline: Deadline) -> Bools:
        """Which pages are in the pool."""
        return loaded if self._finish is None else self._finish(loaded, deadline)


class PoolPages(ABC):
    """The pages of one pool of SGLang.

    Attributes:
        page_tokens: indices that make one page.
        page_bytes: bytes of one page's object.
        fingerprint: everything about the order of the bytes inside an object.
        dtype: the pool's data type by name.
    """

    page_bytes: int

    def __init__(self, pool: Any, order: str, lengths: Iterable[int]) -> None:
        self.pool = pool
        self.page_tokens = max(int(getattr(pool, "page_size", 1) or 1), 1)
        self.dtype = dtype_of(pool)
        self._slots = int(getattr(pool, "logical_size", pool.size))
        known = geometry_of(pool)
        for info in getattr(pool, "_buffer_infos", ())[:1]:
            # Some platforms keep heads or vectors before tokens, in pools of the same class.
            known["device_layout"] = getattr(info.buffers.layout, "value", info.buffers.layout)
        self.fingerprint = fingerprint(
            type(pool).__name__, str(getattr(pool, "layout", "")), order, self.page_tokens, lengths, known
        )

    def starts(self, indices: Any, pages: int) -> I64:
        """The first index of each page.

        Raises:
            PageError: another number of indices, a page that does not begin at a page's boundary or is not whole, or
                one outside the pool.
        """
        if indices is None:
            raise PageError(f"no host indices for {pages} pages")
        flat: I64 = np.asarray(indices, dtype=np.int64).reshape(-1)
        if len(flat) != pages * self.page_tokens:
            raise PageError(f"{len(flat)} host indices for {pages} pages of {self.page_tokens}")
        rows = flat.reshape(pages, self.page_tokens)
        starts: I64 = rows[:, 0]
        if not pages:
            return starts
        if (starts % self.page_tokens).any() or (rows != starts[:, None] + _range(self.page_tokens)).any():
            raise PageError(f"host indices are not those of whole pages of {self.page_tokens}")
        if int(starts.min()) < 0 or int(starts.max()) + self.page_tokens > self._slots:
            raise PageError(f"host indices reach {int(starts.max())}; the pool has {self._slots}")
        return starts

    @abstractmethod
    def source(self, starts: I64) -> tuple[Pieces, Any]:
        """The pieces of pages to store, and what has to stay referenced while they are read."""

    @abstractmethod
    def destination(self, starts: I64) -> Destination:
        """Where pages are loaded to."""


@lru_cache(maxsize=4)
def _range(count: int) -> I64:
    return np.arange(count, dtype=np.int64)
