"""Reads a dead node's header tables from outside: what was committed in DRAM at the instant of ``kill -9``.

The header is the truth (docs/engine-api.md), so this is the list of what the next start must give back.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

PREAMBLE_BYTES = 4096
HEADER_BYTES = 256
MAGIC = b"KVASIRH1"
COMMITTED = 2
_PREAMBLE = struct.Struct("<8sIIII")
_REGION_STAMP = 64
_KEY = 64
_EXPIRY = 152


def committed_keys(arena: Path) -> set[bytes]:
    """Keys of all slots that are committed, without a time to live, in regions that live."""
    return {key for table in arena.glob("tenants/*/*.head") for key in _committed(table.read_bytes())}


def _committed(table: bytes) -> Iterator[bytes]:
    if len(table) < PREAMBLE_BYTES:
        return
    magic, _, _, _, slots = _PREAMBLE.unpack_from(table)
    (region_stamp,) = struct.unpack_from("<Q", table, _REGION_STAMP)
    if magic != MAGIC or region_stamp & 1:
        return
    for slot in range(slots):
        at = PREAMBLE_BYTES + slot * HEADER_BYTES
        if at + HEADER_BYTES > len(table):
            return
        (stamp,) = struct.unpack_from("<Q", table, at)
        (expiry,) = struct.unpack_from("<Q", table, at + _EXPIRY)
        if stamp & 0xFF == COMMITTED and not expiry:
            yield table[at + _KEY : at + _KEY + 32]
