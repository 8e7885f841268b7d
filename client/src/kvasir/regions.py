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
from kvasir._memory import Mapping, words_at
from kvasir.errors import ProtocolViolationError, RegionError
from kvasir.records import U64, BoolArray, SlotArray

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
    def header_address(self) -> int:
        """Of the header file's first byte."""
        return self._header.address

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


#: Stands for the stamp of a region that is not there: odd, as if it were retired.
_RETIRED: Final = np.full(1, 2**64 - 1, dtype=np.uint64)


class _Atlas:
    """The mapped regions as sorted columns; made anew when one comes or goes. A row more stands for "not there"."""

    def __init__(self, mapped: dict[int, MappedRegion]) -> None:
        self.regions = [mapped[name] for name in sorted(mapped)]
        self.nowhere = len(self.regions)
        self.names = np.array([region.region for region in self.regions], dtype=np.uint32)
        retired = int(_RETIRED.ctypes.data)
        columns = [
            (
                r.address,
                r.slot_bytes,
                r.slots,
                r.header_address + PREAMBLE_BYTES,
                r.header_address + REGION_STAMP_OFFSET,
            )
            for r in self.regions
        ]
        table = np.array([*columns, (0, 0, 0, retired, retired)], dtype=np.uint64)
        self.base, self.slot_bytes, self.slots, self.headers, self.stamp = np.ascontiguousarray(table.T)
        self.stride = np.full(len(table), HEADER_BYTES, dtype=np.uint64)
        self.stride[self.nowhere] = 0

    def find(self, regions: npt.NDArray[np.uint32]) -> npt.NDArray[np.intp]:
        """The row of each region, or ``nowhere``."""
        if not self.nowhere:
            return np.zeros(len(regions), dtype=np.intp)
        rows = self.names.searchsorted(regions)
        rows[self.names.take(rows, mode="clip") != regions] = self.nowhere
        return rows


class RegionPin:
    """Slots whose regions stay mapped until :meth:`RegionMap.unpin`, and where they lie; all at once, as arrays.

    A load names hundreds of records in dozens of regions: a step for each would cost more than the copy of a small
    object.

    Attributes:
        regions: those that the slots lie in.
        write: True when the slots are to be written.
        address: of each slot's bytes in this process; 0 for one whose region is not there.

    Raises:
        ProtocolViolationError: a slot or length that lies outside its region.
        RegionError: a region cannot be mapped writable.
    """

    def __init__(self, slots: SlotArray, atlas: _Atlas, rows: npt.NDArray[np.intp], *, write: bool) -> None:
        self.write = write
        self._slots, self._atlas, self._rows = slots, atlas, rows
        self._used = np.flatnonzero(np.bincount(rows, minlength=atlas.nowhere + 1)[: atlas.nowhere]).tolist()
        self.regions = [atlas.regions[row] for row in self._used]
        self._slot = slots["slot"].astype(np.uint64)
        self._stamp_address = atlas.headers[rows] + self._slot * atlas.stride[rows]
        self._region_stamp_address = atlas.stamp[rows]
        self._stamp = np.ascontiguousarray(slots["stamp"])
        self.address: U64 = self._addresses()

    def _addresses(self) -> U64:
        """Maps what is to be written writable."""
        atlas, rows = self._atlas, self._rows
        slot_bytes = atlas.slot_bytes[rows]
        outside = (self._slot >= atlas.slots[rows]) | (self._slots["length"] > slot_bytes)
        if outside.any() and (outside := outside & (rows != atlas.nowhere)).any():
            region = atlas.regions[int(rows[np.flatnonzero(outside)[0]])]
            raise ProtocolViolationError(
                f"a slot lies outside region {region.region} of {region.slots} slots of {region.slot_bytes} bytes"
            )
        base = atlas.base
        if self.write:
            base = np.zeros(len(base), dtype=np.uint64)
            base[self._used] = [region.writable_address() for region in self.regions]
        addresses: U64 = base[rows] + self._slot * slot_bytes
        return addresses

    def valid(self, considered: BoolArray) -> BoolArray:
        """Which of ``considered`` have the stamp that their header has, in regions that live."""
        alive = words_at(self._region_stamp_address) & np.uint64(1) == 0
        result: BoolArray = (words_at(self._stamp_address) == self._stamp) & alive & considered
        return result

    def payload(self, row: int) -> npt.NDArray[np.uint8]:
        """View of a slot's bytes."""
        slot = self._slots[row]
        region = self._atlas.regions[int(self._rows[row])]
        return region.payload(int(slot["slot"]), int(slot["length"]))

    def checksum_word(self, row: int) -> int:
        """Of a slot's header: bit 63 says that bits 0 to 31 are its CRC32C."""
        region = self._atlas.regions[int(self._rows[row])]
        return int(region.checksums[int(self._slots["slot"][row])])


class RegionMap:
    """All regions that the node named to this attachment. Thread-safe; what is pinned stays mapped."""

    def __init__(self, directory: Path, on_closed: Callable[[], None]) -> None:
        self._directory = directory
        self._on_closed = on_closed
        self._lock = threading.Lock()
        self._described: dict[int, pb.Region] = {}
        self._mapped: dict[int, MappedRegion] = {}
        self._atlas: _Atlas | None = None
        self._lingering: list[MappedRegion] = []
        self._written: dict[int, None] = {}
        self._closed = False

    def add(self, regions: Iterable[pb.Region]) -> None:
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
                self._described[described.region] = described
            for described in fresh:
                self._mapping(described.region)

    def add_unmapped(self, regions: Iterable[pb.Region]) -> None:
        """Regions of an answer that came too late: mapped when a later answer's slots lie in them."""
        with self._lock:
            for described in regions:
                self._described[described.region] = described

    def _mapping(self, region: int) -> MappedRegion | None:
        mapped = self._mapped.get(region)
        if mapped is not None:
            return mapped
        described = self._described.get(region)
        if described is None or self._closed:
            return None
        mapped = MappedRegion(self._directory, described)
        if mapped.stamp & 1:
            mapped.close()
            del self._described[region]
            return None
        self._mapped[region] = mapped
        self._atlas = None
        return mapped

    def _sweep(self) -> None:
        for region, mapped in list(self._mapped.items()):
            if mapped.stamp & 1:
                del self._mapped[region]
                self._atlas = None
                self._described.pop(region, None)
                self._written.pop(region, None)
                self._retire(mapped)

    def _retire(self, mapped: MappedRegion) -> None:
        if mapped.users:
            mapped.closing = True
            self._lingering.append(mapped)
        else:
            mapped.close()

    def pin(self, slots: SlotArray, considered: BoolArray | None = None, *, write: bool = False) -> RegionPin:
        """The regions that ``slots`` name stay mapped until :meth:`unpin`.

        A retired region, and any region once this map is closed, is not there: its slots are misses.

        Args:
            slots: records.
            considered: those that matter; the others count as if their region were not there. None: all.
            write: they are to be written.

        Raises:
            ProtocolViolationError: a slot or length that lies outside its region.
        """
        named = np.ascontiguousarray(slots["region"])
        with self._lock:
            atlas, rows = self._find(named, considered)
            pin = RegionPin(slots, atlas, rows, write=write)
            for mapped in pin.regions:
                mapped.users += 1
                mapped.reserved += write
                if write:
                    self._written.pop(mapped.region, None)
                    self._written[mapped.region] = None
        return pin

    def _find(self, named: npt.NDArray[np.uint32], considered: BoolArray | None) -> tuple[_Atlas, npt.NDArray[np.intp]]:
        """Where the regions are; maps those that were only added."""
        matters = np.ones(len(named), dtype=bool) if considered is None else considered
        while True:
            atlas = self._atlas
            if atlas is None:
                atlas = self._atlas = _Atlas(self._mapped)
            rows = atlas.find(named)
            rows[~matters] = atlas.nowhere
            missing = matters & (rows == atlas.nowhere)
            if missing.any():
                for name in set(named[missing].tolist()):
                    self._mapping(name)
            if self._atlas is atlas:
                return atlas, rows

    def unpin(self, pin: RegionPin) -> None:
        """Ends :meth:`pin`; the last one out of a closed map unmaps and runs ``on_closed``."""
        with self._lock:
            for mapped in pin.regions:
                mapped.users -= 1
                mapped.reserved -= pin.write
                if mapped.closing and not mapped.users:
                    self._lingering.remove(mapped)
                    mapped.close()
            if pin.write:
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
            self._atlas = None
            finished = not self._lingering
        if finished:
            self._on_closed()
