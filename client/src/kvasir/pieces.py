"""Where the bytes of objects go to or come from in the engine's own memory, as arrays. Load and store take these."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kvasir.errors import InvalidArgumentError
from kvasir.records import U64

_INDEX: Final = np.dtype(np.int64)
_BYTES: Final = np.dtype(np.uint64)


@dataclass(frozen=True)
class Pieces:
    """Runs of bytes, each between a place in an object and an address of this process; the fast form.

    All four arrays have the same length. The memory must stay allocated during the call. Building it once and using it
    again saves the cost of the conversions.

    Attributes:
        object: int64; index of the object: a row of the flattened (chunk-major) slots, or of the keys of a store.
        offset: uint64; first byte inside the object.
        address: uint64; first byte in this process.
        length: uint64; bytes.
        in_order: True when piece i is object i from its first byte on, which saves looking.
    """

    object: npt.NDArray[np.int64]
    offset: U64
    address: U64
    length: U64
    in_order: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("object", "offset", "address", "length"):
            wanted = _INDEX if name == "object" else _BYTES
            array = getattr(self, name)
            if not isinstance(array, np.ndarray) or array.dtype != wanted or not array.flags.c_contiguous:
                object.__setattr__(self, name, np.ascontiguousarray(array, dtype=wanted))
        if len({self.object.shape, self.offset.shape, self.address.shape, self.length.shape}) != 1:
            raise InvalidArgumentError("the arrays of Pieces must have one length")

    def of_objects(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """For each piece the value of its object."""
        return values if self.in_order and len(values) == len(self.object) else values[self.object]

    def those(self, keep: npt.NDArray[np.bool_]) -> Pieces:
        """The pieces for which ``keep`` is True; these themselves when it is for all."""
        if keep.all():
            return self
        return Pieces(self.object[keep], self.offset[keep], self.address[keep], self.length[keep])

    def first(self, objects: int) -> Pieces:
        """Those of objects below ``objects``."""
        return self.those(self.object < objects)

    def whole_objects(self, objects: int) -> U64:
        """Lengths of ``objects`` objects that these pieces make up without gap or overlap, for a store.

        Raises:
            InvalidArgumentError: a gap, an overlap, or an object without a piece.
        """
        if len(self.object) == objects and (
            self.in_order or ((self.object == np.arange(objects)).all() and not self.offset.any())
        ):
            return self.length
        order = np.lexsort((self.offset, self.object))
        index, offset, length = self.object[order], self.offset[order], self.length[order]
        if len(index) and (index[0] < 0 or index[-1] >= objects):
            raise InvalidArgumentError(f"pieces name objects {index[0]} to {index[-1]}; there are {objects}")
        starts = np.concatenate(([True], index[1:] != index[:-1])) if len(index) else np.zeros(0, bool)
        expected = np.zeros(len(index), dtype=np.uint64)
        expected[1:] = offset[:-1] + length[:-1]
        expected[starts] = 0
        if int(starts.sum()) != objects or (expected != offset).any():
            raise InvalidArgumentError("the pieces of a stored object must cover it from 0 on, without gap or overlap")
        total = np.zeros(objects, dtype=np.uint64)
        np.add.at(total, index, length)
        return total


#: One object's memory: a buffer (numpy array, torch CPU tensor, bytearray, ...), (address, length), a list of
#: (offset in the object, address, length), or None to leave the object out.
Place = Any
#: All objects' memory: Pieces, a numpy array or torch CPU tensor with one row for each object, or a list of places.
Places = Any


def _tensor_extent(tensor: Any) -> tuple[int, int]:
    if tensor.device.type != "cpu":
        raise InvalidArgumentError(f"a tensor lies on {tensor.device}; this client copies CPU memory")
    if not tensor.is_contiguous():
        raise InvalidArgumentError("a tensor is not contiguous; name its pieces")
    return int(tensor.data_ptr()), int(tensor.numel() * tensor.element_size())


def _array_extent(array: npt.NDArray[Any], write: bool) -> tuple[int, int]:
    if not array.flags.c_contiguous:
        raise InvalidArgumentError("an array is not contiguous; name its pieces")
    if write and not array.flags.writeable:
        raise InvalidArgumentError("a destination is read-only")
    return int(array.__array_interface__["data"][0]), array.nbytes


def _extent(place: Place, write: bool) -> tuple[int, int]:
    if isinstance(place, np.ndarray):
        return _array_extent(place, write)
    if hasattr(place, "data_ptr"):
        return _tensor_extent(place)
    try:
        view = np.frombuffer(place, dtype=np.uint8)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"a {type(place).__name__} is no contiguous buffer: {error}") from error
    return _array_extent(view, write)


@lru_cache(maxsize=16)
def _columns(count: int, row: int) -> tuple[npt.NDArray[np.int64], U64, U64]:
    """Object, offset and length of ``count`` rows."""
    columns = np.arange(count, dtype=np.int64), np.zeros(count, np.uint64), np.full(count, row, np.uint64)
    for column in columns:
        column.setflags(write=False)
    return columns


def _rows_from(base: int, stride: int, count: int, row: int) -> Pieces:
    index, offset, length = _columns(count, row)
    return Pieces(index, offset, (index * stride + base).view(np.uint64), length, in_order=True)


def _rows(places: npt.NDArray[Any], write: bool) -> Pieces:
    count = places.shape[0]
    if count and not places[0].flags.c_contiguous:
        raise InvalidArgumentError("the rows of an array are not contiguous; name their pieces")
    if write and not places.flags.writeable:
        raise InvalidArgumentError("the destination array is read-only")
    row = places[0].nbytes if count else 0
    return _rows_from(int(places.__array_interface__["data"][0]), places.strides[0], count, row)


def pieces_of(places: Places, *, write: bool) -> Pieces:
    """The pieces that a caller's argument means.

    Args:
        places: see :data:`Places`.
        write: the places are destinations, and read-only ones are refused.

    Raises:
        InvalidArgumentError: not contiguous, not on the CPU, read-only, or not a buffer.
    """
    if isinstance(places, Pieces):
        return places
    if isinstance(places, np.ndarray) and places.ndim >= 2:
        return _rows(places, write)
    if hasattr(places, "data_ptr") and places.dim() >= 2:
        base, size = _tensor_extent(places)
        count = int(places.shape[0])
        row = size // max(count, 1)
        return _rows_from(base, row, count, row)
    rows: list[tuple[int, int, int, int]] = []
    if isinstance(places, bytes | bytearray | memoryview | np.ndarray) or hasattr(places, "data_ptr"):
        raise InvalidArgumentError("give a list with one place for each object, or an array with one row for each")
    for index_, place in enumerate(places):
        if place is None:
            continue
        if isinstance(place, tuple):
            rows.append((index_, 0, place[0], place[1]))
        elif isinstance(place, list):
            rows.extend((index_, offset, address, length) for offset, address, length in place)
        else:
            rows.append((index_, 0, *_extent(place, write)))
    columns = np.array(rows, dtype=np.uint64).reshape(-1, 4)
    return Pieces(columns[:, 0].astype(np.int64), columns[:, 1], columns[:, 2], columns[:, 3])
