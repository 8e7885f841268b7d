"""Where the pages of a worker's KV cache lie, as addresses: what loads and stores copy. Knows no engine's classes.

Pages are opaque: for each block, the bytes of every layer of its KV group, in the order of the layers. An object is
block-major: block after block, in each the pages of all layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from kvasir import Pieces

from kvasir_vllm.shared.chunks import Chunking
from kvasir_vllm.shared.errors import UnsupportedEngineError


@dataclass(frozen=True)
class Strip:
    """Equal pages, one for each block, in one allocation.

    Attributes:
        base: address of block 0's page.
        stride: bytes from one block's page to the next one's.
        size: bytes of a page.
    """

    base: int
    stride: int
    size: int


def strip_of(
    name: str, address: int, shape: Sequence[int], strides: Sequence[int], item_bytes: int, blocks: int
) -> Strip:
    """The pages of one layer's tensor.

    Args:
        name: of the layer, for errors.
        address: of the first element.
        shape, strides: of the tensor, in elements; the first dimension counts blocks, or parts of blocks of one size.
        item_bytes: of an element.
        blocks: that the engine manages.

    Raises:
        UnsupportedEngineError: the bytes of a block do not lie together.
    """
    parts, rest = divmod(shape[0], blocks)
    if rest or not parts:
        raise UnsupportedEngineError(
            f"the KV cache of {name} has {shape[0]} rows for {blocks} blocks; whole numbers are needed"
        )
    dims = [(size, step) for size, step in zip(shape[1:], strides[1:], strict=True) if size > 1]
    if parts > 1:
        dims.append((parts, strides[0]))
    elements = int(np.prod([size for size, _ in dims], dtype=np.int64)) if dims else 1
    reach = sum((size - 1) * step for size, step in dims) + 1
    if reach != elements:
        raise UnsupportedEngineError(
            f"a block of {name} is spread over {reach * item_bytes} bytes and has {elements * item_bytes}: "
            f"shape {tuple(shape)}, strides {tuple(strides)}"
        )
    return Strip(address, strides[0] * parts * item_bytes, elements * item_bytes)


def merged(strips: Sequence[Strip]) -> tuple[Strip, ...]:
    """Joins pages that follow each other in every block, so that one copy moves them. Keeps the order."""
    result: list[Strip] = []
    for strip in strips:
        last = result[-1] if result else None
        if (
            last is not None
            and last.stride == strip.stride
            and strip.base == last.base + last.size <= (last.base + last.stride - strip.size)
        ):
            result[-1] = Strip(last.base, last.stride, last.size + strip.size)
        else:
            result.append(strip)
    return tuple(result)


class GroupPages:
    """The pages of one KV group.

    Attributes:
        block_bytes: of one block over all layers.
        object_bytes: of one chunk's object.
    """

    def __init__(self, strips: Sequence[Strip], blocks_in_chunk: int) -> None:
        joined = merged(strips)
        self.copies_in_block = len(joined)
        self.block_bytes = sum(strip.size for strip in joined)
        self.object_bytes = self.block_bytes * blocks_in_chunk
        self.blocks_in_chunk = blocks_in_chunk
        self._base = np.array([strip.base for strip in joined], dtype=np.uint64)
        self._stride = np.array([strip.stride for strip in joined], dtype=np.uint64)
        self._size = np.array([strip.size for strip in joined], dtype=np.uint64)
        self._offset = np.concatenate(([0], np.cumsum(self._size)[:-1])).astype(np.uint64)

    def pieces(
        self, rows: npt.NDArray[np.int64], places: npt.NDArray[np.int64], blocks: npt.NDArray[np.int64]
    ) -> Pieces:
        """Copies between objects and blocks.

        Args:
            rows: for each block the object it is in.
            places: for each block its index inside its chunk.
            blocks: block ids.
        """
        count, strips = len(blocks), len(self._base)
        address = self._base[None, :] + blocks.astype(np.uint64)[:, None] * self._stride[None, :]
        offset = places.astype(np.uint64)[:, None] * np.uint64(self.block_bytes) + self._offset[None, :]
        return Pieces(np.repeat(rows, strips), offset.reshape(-1), address.reshape(-1), np.tile(self._size, count))


class Layout:
    """All KV groups of a worker."""

    def __init__(self, groups: Sequence[GroupPages], chunking: Chunking) -> None:
        self.groups = tuple(groups)
        self.chunking = chunking

    @property
    def object_bytes(self) -> tuple[int, ...]:
        """Of one chunk, for each group."""
        return tuple(group.object_bytes for group in self.groups)

    def load_pieces(self, first_chunk: int, begin: int, tables: Sequence[Sequence[int]]) -> Pieces:
        """Copies of a load out of leased objects, which lie chunk-major with one column for each group.

        Args:
            first_chunk: index of the first leased chunk in its prompt.
            begin: first token.
            tables: block ids from ``begin`` on, for each group; block 0 stands for "not needed".
        """
        parts = []
        for column, (group, table) in enumerate(zip(self.groups, tables, strict=True)):
            blocks = np.asarray(table, dtype=np.int64)
            index = begin // self.chunking.blocks[column] + np.arange(len(blocks), dtype=np.int64)
            needed = blocks != 0
            blocks, index = blocks[needed], index[needed]
            chunk, place = np.divmod(index, group.blocks_in_chunk)
            parts.append(group.pieces((chunk - first_chunk) * len(self.groups) + column, place, blocks))
        return joined(parts)

    def store_pieces(self, group: int, table: Sequence[int], objects: int) -> tuple[Pieces, npt.NDArray[np.bool_]]:
        """Copies of a store of one group, and which of the objects have all their blocks.

        Args:
            group: number.
            table: block ids, as many for each object.
            objects: how many these are; in the answer they are numbered among those that have all their blocks.
        """
        pages = self.groups[group]
        blocks = np.asarray(table, dtype=np.int64).reshape(objects, -1)
        each = blocks.shape[1]
        whole: npt.NDArray[np.bool_] = (blocks != 0).all(axis=1)
        blocks = blocks[whole]
        rows = np.repeat(np.arange(len(blocks), dtype=np.int64), each)
        places = np.tile(np.arange(each, dtype=np.int64), len(blocks))
        return pages.pieces(rows, places, blocks.reshape(-1)), whole


def joined(parts: Sequence[Pieces]) -> Pieces:
    """All of them as one."""
    if len(parts) == 1:
        return parts[0]
    return Pieces(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("object", "offset", "address", "length"))
    )
