"""Maps the regions that answers name, and lends them to copies. One :class:`RegionMap` for each attachment."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from kvasir import _engine_pb2 as pb
from kvasir._checksum import crc32c_small
from kvasir._memory import Mapping
from kvasir.errors import ProtocolViolationError, RegionError
from kvasir.records import U64, SlotArray

PREAMBLE_BYTES: Final = 4096
HEADER_BYTES: Final = 256
LAYOUT_VERSION: Final = 1
MAGIC: Final = b"KVASIRH1"
REGION_STAMP_OFFSET: Final = 64
CHECKSUM_OFFSET: Final = 8
_PREAMBLE: Final = struct.Struct("<8sIIIIQQQ")
_STAMP: Final = struct.Struct("<Q")

#: Regions that stay writable although this process has nothing reserved in them just now. Populating a writable mapping
#: costs as much as filling it, and changing its protection a quarter of that, so a writer keeps those that it goes
#: through; of further ones the least recently written is made read-only, and stays mapped.
IDLE_WRITABLE_REGIONS: Final = 64


class MappedRegion:
    """A region's data and header files, mapped read-only; the data a second time, writable, once this process writes.

    ``stamps`` and ``checksums`` are views of the header table, one 64-bit word for each slot.
    """

    def __init__(self, directory: Path, described: pb.Region) -> None:
        self.region: Final = described.region
        self.slots: Final = described.slots
        self.slot_bytes: Final = described.slot_bytes
        self.users = 0
        self.closing = False
        self.reserved = 0
        self._data_path = directory / described.data_file
        self._writable: Mapping | None = None
        self._protected = False
        self._header = self._map_header(directory / described.header_file, described)
        try:
            self._data = _map(self._data_path, self._data_bytes, writable=False)
        except BaseException:
            self._header.close()
            raise
        self.stamps: U64 = self._header.words(PREAMBLE_BYTES, self.slots, HEADER_BYTES)
        self.checksums: U64 = self._header.words(PREAMBLE_BYTES + CHECKSUM_OFFSET, self.slots, HEADER_BYTES)
        self._stamp = self._header.words(REGION_STAMP_OFFSET, 1, 8)

    def _map_header(self, path: Path, described: pb.Region) -> Mapping:
        if not described.slots or not described.slot_bytes:
            raise RegionError(f"region {described.region} has {described.slots} slots of {described.slot_bytes} bytes")
        length = PREAMBLE_BYTES + described.slots * HEADER_BYTES
        mapping = _map(path, length, writable=False)
        try:
            preamble = mapping.view(0, REGION_STAMP_OFFSET).tobytes()
            magic, version, header_bytes, region, slots, slot_bytes, data_bytes, crc = _PREAMBLE.unpack_from(preamble)
            found = (magic, version, header_bytes, region, slots, slot_bytes)
            expected = (MAGIC, LAYOUT_VERSION, HEADER_BYTES, described.region, described.slots, described.slot_bytes)
            if found != expected:
                raise RegionError(
                    f"{path} says (magic, layout, header bytes, region, slots, slot bytes) {found}; expected {expected}"
                )
            if crc & 0xFFFFFFFF != crc32c_small(preamble[:40]):
                raise RegionError(f"{path} has a preamble whose checksum is wrong")
            if data_bytes < described.slots * described.slot_bytes:
                raise RegionError(
                    f"{path} promises {data_bytes} bytes of data, too few for {described.slots} slots of "
                    f"{described.slot_bytes}"
                )
        except BaseException:
            mapping.close()
            raise
        self._data_bytes: int = data_bytes
        return mapping

    @property
    def stamp(self) -> int:
        """The region's own stamp: odd once it is retired."""
        return int(self._stamp[0])

    @property
    def address(self) -> int:
        """Of slot 0, for reading."""
        return self._data.address

    def payload(self, slot: int, length: int) -> npt.NDArray[np.uint8]:
        """View of a slot's bytes, for checksums; only while the region is borrowed."""
        return self._data.view(slot * self.slot_bytes, length)

    def writable_address(self) -> int:
        """Of slot 0, for writing; maps the data writable at the first call."""
        if self._writable is None:
            self._writable = _map(self._data_path, self._data_bytes, writable=True)
        elif self._protected:
            self._writable.protect(writable=True)
        self._protected = False
        return self._writable.address

    def protect(self) -> None:
        """Forbids writing until the next :meth:`writable_address`; nothing may be reserved here."""
        assert self._writable is not None
        self._writable.protect(writable=False)
        self._protected = True

    def close(self) -> None:
        """Unmaps everything."""
        if self._writable is not None:
            self._writable.close()
            self._writable = None
        self._data.close()
        self._header.close()


def _map(path: Path, length: int, *, writable: bool) -> Mapping:
    try:
        descriptor = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            size = os.fstat(descriptor).st_size
            if size < length:
                raise RegionError(f"{path} has {size} bytes; {length} were promised: it was truncated")
            return Mapping(descriptor, length, writable=writable)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise RegionError(f"{path} cannot be mapped: {error}") from error


class RegionMap:
    """All regions that the node named to this attachment. Thread-safe; what is borrowed stays mapped."""

    def __init__(self, directory: Path, on_closed: Callable[[], None]) -> None:
        self._directory = directory
        self._on_closed = on_closed
        self._lock = threading.Lock()
        self._announced: dict[int, pb.Region] = {}
        self._mapped: dict[int, MappedRegion] = {}
        self._lingering: list[MappedRegion] = []
        self._written: dict[int, None] = {}
        self._closed = False

    def announce(self, regions: Iterable[pb.Region]) -> None:
        """Maps the regions of an answer, and unmaps those that were retired since.

        Raises:
            RegionError: a file is missing, truncated, or not what the answer says.
        """
        fresh = list(regions)
        if not fresh:
            return
        with self._lock:
            self._sweep()
            for described in fresh:
                self._announced[described.region] = described
            for described in fresh:
                self._mapping(described.region)

    def remember(self, regions: Iterable[pb.Region]) -> None:
        """Regions of an answer that came too late: mapped when a later answer's slots lie in them."""
        with self._lock:
            for described in regions:
                self._announced[described.region] = described

    def _mapping(self, region: int) -> MappedRegion | None:
        mapped = self._mapped.get(region)
        if mapped is not None:
            return mapped
        described = self._announced.get(region)
        if described is None or self._closed:
            return None
        mapped = MappedRegion(self._directory, described)
        if mapped.stamp & 1:
            mapped.close()
            del self._announced[region]
            return None
        self._mapped[region] = mapped
        return mapped

    def _sweep(self) -> None:
        for region, mapped in list(self._mapped.items()):
            if mapped.stamp & 1:
                del self._mapped[region]
                self._announced.pop(region, None)
                self._written.pop(region, None)
                self._retire(mapped)

    def _retire(self, mapped: MappedRegion) -> None:
        if mapped.users:
            mapped.closing = True
            self._lingering.append(mapped)
        else:
            mapped.close()

    def borrow(self, slots: SlotArray, *, write: bool = False) -> dict[int, MappedRegion]:
        """The regions that ``slots`` name, which stay mapped until :meth:`give_back`.

        A retired region, and any region once this map is closed, is left out: its slots are misses.

        Raises:
            ProtocolViolationError: a slot or length that lies outside its region.
        """
        named: list[int] = slots["region"].tolist()
        names = dict.fromkeys(named)
        borrowed: dict[int, MappedRegion] = {}
        with self._lock:
            for name in names:
                mapped = self._mapping(name)
                if mapped is not None:
                    borrowed[name] = mapped
            for mapped in borrowed.values():
                mapped.users += 1
                mapped.reserved += write
        try:
            for name, slot, length in zip(named, slots["slot"].tolist(), slots["length"].tolist(), strict=True):
                mapped = borrowed.get(name)
                if mapped is not None and (slot >= mapped.slots or length > mapped.slot_bytes):
                    raise ProtocolViolationError(
                        f"a slot lies outside region {name} of {mapped.slots} slots of {mapped.slot_bytes} bytes"
                    )
            if write:
                with self._lock:
                    for name, mapped in borrowed.items():
                        mapped.writable_address()
                        self._written.pop(name, None)
                        self._written[name] = None
        except BaseException:
            self.give_back(borrowed, write=write)
            raise
        return borrowed

    def give_back(self, borrowed: dict[int, MappedRegion], *, write: bool = False) -> None:
        """Ends :meth:`borrow`; the last one out of a closed map unmaps and runs ``on_closed``."""
        with self._lock:
            for mapped in borrowed.values():
                mapped.users -= 1
                if write:
                    mapped.reserved -= 1
                if mapped.closing and not mapped.users:
                    self._lingering.remove(mapped)
                    mapped.close()
            if write:
                self._drop_idle_writable()
            finished = self._closed and not self._lingering
        if finished:
            self._on_closed()

    def _drop_idle_writable(self) -> None:
        idle = [name for name in self._written if name in self._mapped and not self._mapped[name].reserved]
        for name in idle[: max(0, len(idle) - IDLE_WRITABLE_REGIONS)]:
            self._mapped[name].protect()
            del self._written[name]

    def __len__(self) -> int:
        with self._lock:
            return len(self._mapped)

    def close(self) -> None:
        """Unmaps what no copy uses, and the rest when its last copy ends. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for mapped in self._mapped.values():
                self._retire(mapped)
            self._mapped.clear()
            finished = not self._lingering
        if finished:
            self._on_closed()
