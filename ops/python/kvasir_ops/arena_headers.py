"""Reads a dead node's header tables from outside: what was committed in DRAM at the instant of ``kill -9``, and where.

The header is the truth (docs/engine-api.md), so this is the list of what the next start must give back.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PREAMBLE_BYTES = 4096
HEADER_BYTES = 256
MAGIC = b"KVASIRH1"
FREE = 0
COMMITTED = 2
_PREAMBLE = struct.Struct("<8sIIIIQ")
_REGION_STAMP = 64
_STAMP_SUM_LENGTH = struct.Struct("<QQQ")
_SUMMED = 1 << 63
_NAMESPACE = 32
_KEY = 64
_EXPIRY = 152


@dataclass(frozen=True)
class CommittedObject:
    """One committed slot: ``length`` bytes at ``offset`` of the file ``data``. ``summed``: its checksum was known."""

    key: bytes
    data: Path
    offset: int
    length: int
    summed: bool


def committed_keys(arena: Path) -> set[bytes]:
    """Keys of all slots that are committed, without a time to live, in regions that live."""
    return {found.key for found in committed_objects(arena)}


def occupied_keys(arena: Path) -> set[bytes]:
    """Keys of all slots that are reserved or committed, in regions that live."""
    return _ids(arena, _KEY, lambda state: state != FREE)


def committed_namespaces(arena: Path) -> set[bytes]:
    """Ids of the namespaces of all slots that are committed, in regions that live."""
    return _ids(arena, _NAMESPACE, lambda state: state == COMMITTED)


def _ids(arena: Path, field: int, wanted: Callable[[int], bool]) -> set[bytes]:
    return {
        table[at + field : at + field + 32]
        for file in arena.glob("tenants/*/*.head")
        for table in [file.read_bytes()]
        for _, at, stamp, _ in _slots(table)
        if wanted(stamp & 0xFF)
    }


def committed_objects(arena: Path) -> list[CommittedObject]:
    """All slots that are committed, without a time to live, in regions that live."""
    return [found for table in sorted(arena.glob("tenants/*/*.head")) for found in _committed(table)]


def _committed(file: Path) -> Iterator[CommittedObject]:
    table = file.read_bytes()
    for slot, at, stamp, slot_bytes in _slots(table):
        _, checksum, length = _STAMP_SUM_LENGTH.unpack_from(table, at)
        (expiry,) = struct.unpack_from("<Q", table, at + _EXPIRY)
        if stamp & 0xFF == COMMITTED and not expiry:
            key = table[at + _KEY : at + _KEY + 32]
            yield CommittedObject(key, file.with_suffix(".data"), slot * slot_bytes, length, bool(checksum & _SUMMED))


def _slots(table: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Of each slot of a region that lives: its number, where its header is, its stamp, its bytes."""
    if len(table) < PREAMBLE_BYTES:
        return
    magic, _, _, _, slots, slot_bytes = _PREAMBLE.unpack_from(table)
    (region_stamp,) = struct.unpack_from("<Q", table, _REGION_STAMP)
    if magic != MAGIC or region_stamp & 1:
        return
    for slot in range(slots):
        at = PREAMBLE_BYTES + slot * HEADER_BYTES
        if at + HEADER_BYTES > len(table):
            return
        yield slot, at, _STAMP_SUM_LENGTH.unpack_from(table, at)[0], slot_bytes
