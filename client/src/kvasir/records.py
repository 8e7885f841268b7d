"""The packed 32-byte slot records of the engine API, viewed as numpy arrays without a copy per record."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kvasir.errors import ProtocolViolationError

SLOT_RECORD_BYTES: Final = 32
SLOT_DTYPE: Final = np.dtype(
    {
        "names": ["status", "tier", "region", "slot", "stamp", "length"],
        "formats": ["u1", "u1", "<u4", "<u4", "<u8", "<u8"],
        "offsets": [0, 1, 4, 8, 16, 24],
        "itemsize": SLOT_RECORD_BYTES,
    }
)

#: Array of :data:`SLOT_DTYPE`.
SlotArray = npt.NDArray[np.void]
U64 = npt.NDArray[np.uint64]
BoolArray = npt.NDArray[np.bool_]


class SlotStatus(IntEnum):
    """The ``status`` byte of a record."""

    UNSPECIFIED = 0
    HIT = 1
    MISS = 2
    PENDING = 3
    NOT_NEEDED = 4
    GRANTED = 5
    EXISTS = 6
    IN_FLIGHT = 7
    NO_ROOM = 8
    QUOTA = 9
    COMMITTED = 10
    ABORTED = 11
    NOT_RESERVED = 12


class Tier(IntEnum):
    """A place with a capacity and a cost."""

    UNSPECIFIED = 0
    DEVICE = 1
    DRAM = 2
    SSD = 3
    REMOTE = 4


def slot_array(packed: bytes, count: int | None = None) -> SlotArray:
    """A read-only view of packed records.

    Args:
        packed: n x 32 bytes.
        count: how many there must be; ``None`` when the answer decides.
    """
    if len(packed) % SLOT_RECORD_BYTES or (count is not None and len(packed) != count * SLOT_RECORD_BYTES):
        wanted = "whole records" if count is None else f"{count} records"
        raise ProtocolViolationError(f"slots have {len(packed)} bytes; expected {wanted} of {SLOT_RECORD_BYTES} bytes")
    return np.frombuffer(packed, dtype=SLOT_DTYPE)


def pack_slots(records: Iterable[dict[str, Any]]) -> bytes:
    """Packed records from named fields; for tools and tests."""
    rows = list(records)
    array = np.zeros(len(rows), dtype=SLOT_DTYPE)
    for index, row in enumerate(rows):
        for name, value in row.items():
            array[name][index] = value
    return array.tobytes()
