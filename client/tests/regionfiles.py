"""Writes region files with the documented layout, for tests of what reads them."""

from __future__ import annotations

import struct
from pathlib import Path

import google_crc32c
import numpy as np

from kvasir import _engine_pb2 as pb

COMMITTED = 2
RESERVED = 1


class RegionFiles:
    """One region's two files, as a node writes them."""

    def __init__(self, directory: Path, region: int = 1, slots: int = 8, slot_bytes: int = 4096) -> None:
        self.region, self.slots, self.slot_bytes = region, slots, slot_bytes
        self.data_path = directory / f"r{region}.data"
        self.header_path = directory / f"r{region}.headers"
        self.data_path.write_bytes(bytes(slots * slot_bytes))
        self.header_path.write_bytes(bytes(4096 + 256 * slots))
        self.data = np.memmap(self.data_path, np.uint8, "r+")
        self.headers = np.memmap(self.header_path, np.uint8, "r+")
        preamble = struct.pack("<8sIIIIQQ", b"KVASIRH1", 1, 256, region, slots, slot_bytes, slots * slot_bytes)
        self.headers[:40] = np.frombuffer(preamble, np.uint8)
        self.word(40, google_crc32c.value(preamble))

    def word(self, offset: int, value: int) -> None:
        self.headers[offset : offset + 8] = np.frombuffer(struct.pack("<Q", value), np.uint8)

    def retire(self) -> None:
        self.word(64, 1)

    def put(self, slot: int, payload: bytes, generation: int = 2, *, summed: bool = True) -> dict[str, int]:
        """Commits bytes; returns the fields of the record that names them."""
        at = slot * self.slot_bytes
        self.data[at : at + len(payload)] = np.frombuffer(payload, np.uint8)
        self.word(4096 + slot * 256 + 8, (1 << 63 | google_crc32c.value(payload)) if summed else 0)
        stamp = generation << 8 | COMMITTED
        self.word(4096 + slot * 256, stamp)
        return {"status": 1, "tier": 2, "region": self.region, "slot": slot, "stamp": stamp, "length": len(payload)}

    def reserve(self, slot: int, length: int, generation: int = 3) -> dict[str, int]:
        stamp = generation << 8 | RESERVED
        self.word(4096 + slot * 256, stamp)
        return {"status": 5, "tier": 2, "region": self.region, "slot": slot, "stamp": stamp, "length": length}

    def described(self) -> pb.Region:
        return pb.Region(
            region=self.region,
            slot_bytes=self.slot_bytes,
            slots=self.slots,
            data_file=self.data_path.name,
            header_file=self.header_path.name,
        )
