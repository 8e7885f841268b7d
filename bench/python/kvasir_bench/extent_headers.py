"""Reads the slot headers of a dead node's SSD extents from outside: which objects their slots were written for.

A header stays when its object was removed, until the slot is used again, so this does not say what is there; that is
RocksDB's to say (``kvasir_bench.places_log``).
"""

from __future__ import annotations

import struct
from pathlib import Path

PAGE_BYTES = 4096
HEADER_BYTES = 256
MAGIC = 0x4856534B
_SHAPE = struct.Struct("<II")
"""Of the superblock: the cut number, and pages of a slot."""
_SHAPE_AT = 20
_SEAL = struct.Struct("<III")
"""Behind the checksum: magic, cut number, slot."""
_KEY = 16 + 32


def keys_in_headers(extents: Path) -> set[bytes]:
    """Keys in the headers of all extents, of the sizes that they have now."""
    return {key for file in extents.glob("*.extent") for key in _keys(file)}


def _keys(file: Path) -> set[bytes]:
    file_bytes = file.stat().st_size
    with file.open("rb") as opened:
        superblock = opened.read(PAGE_BYTES)
        if len(superblock) < PAGE_BYTES:
            return set()
        cut, pages = _SHAPE.unpack_from(superblock, _SHAPE_AT)
        if pages == 0:
            return set()
        table = opened.read((file_bytes - PAGE_BYTES) // (pages * PAGE_BYTES + HEADER_BYTES) * HEADER_BYTES)
    return {
        table[at + _KEY : at + _KEY + 32]
        for at in range(0, len(table) - HEADER_BYTES + 1, HEADER_BYTES)
        if _SEAL.unpack_from(table, at + 4) == (MAGIC, cut, at // HEADER_BYTES)
    }
