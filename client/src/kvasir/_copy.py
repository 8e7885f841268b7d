"""Copies between regions and the engine's memory: in slices, with a deadline, around it the checks of the stamps."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from kvasir._memory import copy as copy
from kvasir.deadline import Deadline
from kvasir.errors import InvalidArgumentError
from kvasir.pieces import Pieces
from kvasir.records import U64, BoolArray, SlotArray, SlotStatus
from kvasir.regions import MappedRegion, RegionMap

#: Bytes between two looks at the deadline.
SLICE_BYTES: Final = 8 << 20


def _run(source: list[int], target: list[int], length: list[int], deadline: float, stopped: Callable[[], bool]) -> int:
    """Copies in order; returns how many pieces are complete. Stops within a slice of the deadline or of ``stopped``."""
    budget = 0
    done = 0
    move = copy
    for begin, end, count in zip(source, target, length, strict=True):
        if count > budget:
            if time.monotonic() >= deadline or stopped():
                return done
            budget = SLICE_BYTES
            while count > budget:
                move(end, begin, SLICE_BYTES)
                begin += SLICE_BYTES
                end += SLICE_BYTES
                count -= SLICE_BYTES
                if time.monotonic() >= deadline or stopped():
                    return done
        move(end, begin, count)
        budget -= count
        done += 1
    return done


class Copies(Protocol):
    """Moves bytes for loads and stores."""

    def run(self, source: U64, target: U64, length: U64, deadline: Deadline, stopped: Callable[[], bool]) -> BoolArray:
        """Copies pieces; returns which were copied in full. When it returns, nothing copies any more.

        Args:
            source, target: addresses; those of the arena are this process's.
            length: bytes of each piece.
            deadline: no copy begins after it.
            stopped: when it says True, no copy begins any more.
        """
        ...

    def close(self) -> None:
        """Ends it."""
        ...


class Copier:
    """Runs copies on the calling thread, and on ``threads - 1`` more when it was given a pool."""

    def __init__(self, threads: int = 1) -> None:
        if threads < 1:
            raise InvalidArgumentError(f"copy_threads is {threads}; it must be at least 1")
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads - 1, "kvasir-copy") if threads > 1 else None

    def run(self, source: U64, target: U64, length: U64, deadline: Deadline, stopped: Callable[[], bool]) -> BoolArray:
        """Which pieces were copied in full. When this returns, nothing copies any more."""
        complete = np.zeros(len(length), dtype=bool)
        if self._pool is None or len(length) < 2:
            done = _run(source.tolist(), target.tolist(), length.tolist(), deadline.at, stopped)
            complete[:done] = True
            return complete
        ends = np.cumsum(length)
        shares = [int(ends[-1]) * part // self._threads for part in range(1, self._threads)]
        cuts = [0, *np.searchsorted(ends, shares).tolist(), len(length)]
        ranges = [(first, last) for first, last in pairwise(cuts) if first < last]
        lists = [(source[a:b].tolist(), target[a:b].tolist(), length[a:b].tolist()) for a, b in ranges]
        futures = [self._pool.submit(_run, *part, deadline.at, stopped) for part in lists[1:]]
        try:
            counts = [_run(*lists[0], deadline.at, stopped)]
        finally:
            wait(futures)
        counts += [future.result() for future in futures]
        for (first, _), count in zip(ranges, counts, strict=True):
            complete[first : first + count] = True
        return complete

    def close(self) -> None:
        """Ends the pool's threads."""
        if self._pool is not None:
            self._pool.shutdown()


def _gone(_: int) -> int:
    """The stamp of a slot in a region that is not there; no record has it."""
    return -1


class _Table:
    """The headers and addresses of records whose regions are borrowed.

    A load names dozens of records in several regions, just after megabytes were copied: a plain loop over the records,
    whose code stays in the processor's cache, costs less than array operations for each region.
    """

    def __init__(self, slots: SlotArray, borrowed: dict[int, MappedRegion]) -> None:
        self._slots = slots
        self._slot: list[int] = slots["slot"].tolist()
        self._region: list[int] = slots["region"].tolist()
        self._stamp: list[int] = slots["stamp"].tolist()
        self._borrowed = borrowed

    def valid(self, considered: BoolArray) -> BoolArray:
        """Which of ``considered`` have the stamp that their header has, in regions that live."""
        stamp_of = {name: mapped.stamps.item for name, mapped in self._borrowed.items() if not mapped.stamp & 1}
        rows = zip(self._region, self._slot, self._stamp, strict=True)
        same = np.array([stamp_of.get(region, _gone)(slot) == stamp for region, slot, stamp in rows], dtype=bool)
        return same & considered

    def addresses(self, valid: BoolArray, *, write: bool) -> U64:
        """Of the payload of ``valid`` records; 0 for the others."""
        place_of = {
            name: (mapped.writable_address() if write else mapped.address, mapped.slot_bytes)
            for name, mapped in self._borrowed.items()
        }
        if valid.all():
            places = [
                place_of[region][0] + slot * place_of[region][1]
                for region, slot in zip(self._region, self._slot, strict=True)
            ]
            return np.array(places, dtype=np.uint64)
        result = np.zeros(len(self._slots), dtype=np.uint64)
        for row in np.flatnonzero(valid).tolist():
            base, size = place_of[self._region[row]]
            result[row] = base + self._slot[row] * size
        return result

    def _payload(self, row: int) -> npt.NDArray[np.uint8]:
        return self._borrowed[self._region[row]].payload(self._slot[row], int(self._slots["length"][row]))

    def sum(self, rows: BoolArray, crc32c: Callable[[Any], int], sums: npt.NDArray[np.uint32]) -> None:
        """Writes the checksums of the slots' bytes into ``sums``."""
        for row in np.flatnonzero(rows).tolist():
            sums[row] = crc32c(self._payload(row))

    def verify(self, rows: BoolArray, crc32c: Callable[[Any], int]) -> BoolArray:
        """Which of ``rows`` have the checksum that their header says; one that is not summed yet passes."""
        result: BoolArray = rows.copy()
        for row in np.flatnonzero(rows).tolist():
            word = int(self._borrowed[self._region[row]].checksums[self._slot[row]])
            if word >> 63:
                result[row] = crc32c(self._payload(row)) == word & 0xFFFFFFFF
        return result


def _incomplete(objects: int, pieces: Pieces, complete: BoolArray) -> BoolArray:
    """Which objects have a piece that was not copied in full, or none at all."""
    missing = np.ones(objects, dtype=bool)
    missing[pieces.object] = False
    missing[pieces.object[~complete]] = True
    return missing


def _check_range(objects: int, pieces: Pieces) -> None:
    if len(pieces.object) and (int(pieces.object.min()) < 0 or int(pieces.object.max()) >= objects):
        raise InvalidArgumentError(f"places name object {int(pieces.object.max())}; there are {objects} objects")


def load(
    regions: RegionMap,
    slots: SlotArray,
    pieces: Pieces,
    deadline: Deadline,
    copier: Copies,
    stopped: Callable[[], bool],
    crc32c: Callable[[Any], int] | None,
) -> BoolArray:
    """Copies objects out of their slots; returns which arrived: whole, and of the version that the record names.

    Stamps are looked at before and after. What is not in the result may have been written in part.

    Raises:
        InvalidArgumentError: a piece outside its object, before anything was copied.
    """
    _check_range(len(slots), pieces)
    hits: BoolArray = slots["status"] == SlotStatus.HIT
    if not hits.any():
        return np.zeros(len(slots), dtype=bool)
    index = pieces.object
    beyond = pieces.offset + pieces.length > slots["length"][index]
    if (beyond & hits[index]).any():
        row = int(np.flatnonzero(beyond & hits[index])[0])
        raise InvalidArgumentError(
            f"a place of object {int(index[row])} wants bytes {int(pieces.offset[row])} to "
            f"{int(pieces.offset[row] + pieces.length[row])}; the object has {int(slots['length'][index[row]])}"
        )
    considered = slots if hits.all() else slots[hits]
    borrowed = regions.borrow(considered)
    try:
        table = _Table(slots, borrowed)
        valid = table.valid(hits)
        keep = valid[index]
        if not keep.all():
            pieces = Pieces(index[keep], pieces.offset[keep], pieces.address[keep], pieces.length[keep])
        source = table.addresses(valid, write=False)[pieces.object] + pieces.offset
        complete = copier.run(source, pieces.address, pieces.length, deadline, stopped)
        loaded: BoolArray = valid & ~_incomplete(len(slots), pieces, complete)
        if crc32c is not None:
            loaded = table.verify(loaded, crc32c)
        return table.valid(loaded)
    finally:
        regions.give_back(borrowed)


def store(
    regions: RegionMap,
    slots: SlotArray,
    pieces: Pieces,
    deadline: Deadline,
    copier: Copies,
    stopped: Callable[[], bool],
    crc32c: Callable[[Any], int] | None,
    sums: npt.NDArray[np.uint32],
) -> BoolArray:
    """Copies objects into slots that this attachment reserved; returns which are there in full.

    Args:
        sums: where the checksums go when ``crc32c`` is given; one for each slot.
    """
    granted: BoolArray = slots["status"] == SlotStatus.GRANTED
    if not granted.any():
        return np.zeros(len(slots), dtype=bool)
    borrowed = regions.borrow(slots if granted.all() else slots[granted], write=True)
    try:
        table = _Table(slots, borrowed)
        valid = table.valid(granted)
        keep = valid[pieces.object]
        if not keep.all():
            pieces = Pieces(pieces.object[keep], pieces.offset[keep], pieces.address[keep], pieces.length[keep])
        target = table.addresses(valid, write=True)[pieces.object] + pieces.offset
        complete = copier.run(pieces.address, target, pieces.length, deadline, stopped)
        stored: BoolArray = valid & ~_incomplete(len(slots), pieces, complete)
        if crc32c is not None:
            table.sum(stored, crc32c, sums)
        return stored
    finally:
        regions.give_back(borrowed, write=True)
