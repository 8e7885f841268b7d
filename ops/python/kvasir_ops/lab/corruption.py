"""Changes bytes of a dead node's objects: what memory and disks do, and what a checksum has to find."""

from __future__ import annotations

import random
from pathlib import Path

from kvasir_ops.arena_headers import committed_objects
from kvasir_ops.node_process import NodePlaces

_PLACES_TRIED = 64
_SSD_PAGE = 4096


def corrupt_dram(places: NodePlaces, count: int, draw: random.Random) -> set[bytes]:
    """Flips a byte in up to ``count`` committed objects; their keys.

    Only in objects that had been summed: of the others nobody can know what they were.
    """
    objects = [found for found in committed_objects(places.shared_memory / "dram") if found.summed and found.length]
    chosen = draw.sample(objects, min(count, len(objects)))
    for found in chosen:
        _flip(found.data, found.offset + draw.randrange(found.length), draw)
    return {found.key for found in chosen}


def corrupt_ssd(places: NodePlaces, count: int, draw: random.Random) -> int:
    """Flips a byte in up to ``count`` written places of the SSD tier's extents; how many were flipped."""
    extents = [file for file in sorted((places.state / "ssd").rglob("*")) if _is_extent(file)]
    flipped = 0
    for _ in range(_PLACES_TRIED * count if extents else 0):
        if flipped == count:
            break
        file = draw.choice(extents)
        page = draw.randrange(file.stat().st_size // _SSD_PAGE) * _SSD_PAGE
        with file.open("rb") as opened:
            opened.seek(page)
            written = any(opened.read(_SSD_PAGE))
        if written:
            _flip(file, page + draw.randrange(_SSD_PAGE), draw)
            flipped += 1
    return flipped


def _is_extent(file: Path) -> bool:
    return file.is_file() and file.suffix == ".extent" and file.stat().st_size >= _SSD_PAGE


def _flip(file: Path, offset: int, draw: random.Random) -> None:
    with file.open("r+b") as opened:
        opened.seek(offset)
        (byte,) = opened.read(1)
        opened.seek(offset)
        opened.write(bytes([byte ^ (1 << draw.randrange(8))]))
