"""Reads a dead node's RocksDB logs from outside: which objects the node itself had taken from the SSD when it died.

A place that was stored and is not there at the next start was either lost or evicted in the last moments before the
kill, when nobody could be told any more. The log knows: a removal is written to it before the slot is used again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

BLOCK_BYTES = 32 << 10
_FRAGMENT = struct.Struct("<IHB")
"""Checksum, length, type."""
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_BATCH_BYTES = 12
_DELETION, _VALUE = 0, 1
_ID_BYTES = 80
"""Namespace, key, shard: the key of a place."""


def last_changes(places: Path) -> dict[bytes, bool]:
    """By key, as far as the logs of this RocksDB reach back: whether the last change of an object is its removal."""
    changes: dict[bytes, bool] = {}
    for log in sorted(places.glob("*.log"), key=lambda path: int(path.stem)):
        for batch in _batches(log.read_bytes()):
            for is_removal, place in _changes(batch):
                if len(place) == _ID_BYTES:
                    changes[place[32:64]] = is_removal
    return changes


def _batches(data: bytes) -> Iterator[bytes]:
    """The records of a log, up to a torn end."""
    parts: list[bytes] = []
    at = 0
    while at + _FRAGMENT.size <= len(data):
        left = BLOCK_BYTES - at % BLOCK_BYTES
        if left < _FRAGMENT.size:
            at += left
            continue
        _, length, kind = _FRAGMENT.unpack_from(data, at)
        begin = at + _FRAGMENT.size
        at = begin + length
        if kind not in (_FULL, _FIRST, _MIDDLE, _LAST) or at > len(data):
            return
        if kind in (_FULL, _FIRST):
            parts.clear()
        parts.append(data[begin:at])
        if kind in (_FULL, _LAST):
            yield b"".join(parts)


def _changes(batch: bytes) -> Iterator[tuple[bool, bytes]]:
    """Of each change in a batch: whether it is a removal, and of which place. The node writes no other kinds."""
    at = _BATCH_BYTES
    while at < len(batch):
        kind = batch[at]
        if kind not in (_DELETION, _VALUE):
            raise ValueError(f"a RocksDB log has a change of kind {kind}, which this reader does not know")
        key, at = _string(batch, at + 1)
        yield kind == _DELETION, key
        if kind == _VALUE:
            _, at = _string(batch, at)


def _string(batch: bytes, at: int) -> tuple[bytes, int]:
    length = shift = 0
    while True:
        byte = batch[at]
        at += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return batch[at : at + length], at + length
