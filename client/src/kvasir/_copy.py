"""Copies between regions and the engine's memory: in slices, with a deadline, around it the checks of the stamps."""

from __future__ import annotations

import time
from collections import deque
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
from kvasir.regions import RegionMap, RegionPin

#: Bytes between two looks at the deadline.
SLICE_BYTES: Final = 8 << 20


def _run(source: U64, target: U64, length: U64, deadline: float, stopped: Callable[[], bool]) -> int:
    """Copies in order; returns how many pieces are complete. Stops within a slice of the deadline or of ``stopped``."""
    ends = np.cumsum(length)
    sources, targets, lengths = source.tolist(), target.tolist(), length.tolist()
    done = 0
    copied = 0
    while done < len(lengths):
        if time.monotonic() >= deadline or stopped():
            break
        end = int(ends.searchsorted(copied + SLICE_BYTES, side="right"))
        if end == done:
            if not _run_one(sources[done], targets[done], lengths[done], deadline, stopped):
                break
            end = done + 1
        else:
            # The loop is C: for small objects the steps of one in Python would be a tenth of the copy.
            deque(map(copy, targets[done:end], sources[done:end], lengths[done:end]), maxlen=0)
        copied = int(ends[end - 1])
        done = end
    return done


def _run_one(source: int, target: int, length: int, deadline: float, stopped: Callable[[], bool]) -> bool:
    """Copies a piece that is longer than a slice; whether all of it."""
    at = 0
    while length - at > SLICE_BYTES:
        copy(target + at, source + at, SLICE_BYTES)
        at += SLICE_BYTES
        if time.monotonic() >= deadline or stopped():
            return False
    copy(target + at, source + at, length - at)
    return True


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
            complete[: _run(source, target, length, deadline.at, stopped)] = True
            return complete
        ends = np.cumsum(length)
        shares = [int(ends[-1]) * part // self._threads for part in range(1, self._threads)]
        cuts = [0, *np.searchsorted(ends, shares).tolist(), len(length)]
        ranges = [(first, last) for first, last in pairwise(cuts) if first < last]
        parts = [(source[a:b], target[a:b], length[a:b]) for a, b in ranges]
        futures = [self._pool.submit(_run, *part, deadline.at, stopped) for part in parts[1:]]
        try:
            counts = [_run(*parts[0], deadline.at, stopped)]
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


def _verify(pin: RegionPin, rows: BoolArray, crc32c: Callable[[Any], int]) -> BoolArray:
    """Which of ``rows`` have the checksum that their header says; one that is not summed yet passes."""
    result: BoolArray = rows.copy()
    for row in np.flatnonzero(rows).tolist():
        word = pin.checksum_word(row)
        if word >> 63:
            result[row] = crc32c(pin.payload(row)) == word & 0xFFFFFFFF
    return result


def _incomplete(objects: int, pieces: Pieces, complete: BoolArray) -> BoolArray:
    """Which objects have a piece that was not copied in full, or none at all."""
    if pieces.in_order and len(complete) == objects:
        return ~complete
    missing = np.ones(objects, dtype=bool)
    missing[pieces.object] = False
    missing[pieces.object[~complete]] = True
    return missing


def _check_range(objects: int, pieces: Pieces) -> None:
    if pieces.in_order and len(pieces.object) <= objects:
        return
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
    beyond = pieces.offset + pieces.length > pieces.of_objects(slots["length"])
    if beyond.any() and (beyond & hits[pieces.object]).any():
        index = pieces.object
        row = int(np.flatnonzero(beyond & hits[index])[0])
        raise InvalidArgumentError(
            f"a place of object {int(index[row])} wants bytes {int(pieces.offset[row])} to "
            f"{int(pieces.offset[row] + pieces.length[row])}; the object has {int(slots['length'][index[row]])}"
        )
    pin = regions.pin(slots, hits)
    try:
        valid = pin.valid(hits)
        kept = pieces.those(pieces.of_objects(valid))
        source = kept.of_objects(pin.address) + kept.offset
        complete = copier.run(source, kept.address, kept.length, deadline, stopped)
        loaded: BoolArray = valid & ~_incomplete(len(slots), kept, complete)
        if crc32c is not None:
            loaded = _verify(pin, loaded, crc32c)
        return pin.valid(loaded)
    finally:
        regions.unpin(pin)


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
    pin = regions.pin(slots, granted, write=True)
    try:
        valid = pin.valid(granted)
        kept = pieces.those(pieces.of_objects(valid))
        target = kept.of_objects(pin.address) + kept.offset
        complete = copier.run(kept.address, target, kept.length, deadline, stopped)
        stored: BoolArray = valid & ~_incomplete(len(slots), kept, complete)
        if crc32c is not None:
            for row in np.flatnonzero(stored).tolist():
                sums[row] = crc32c(pin.payload(row))
        return stored
    finally:
        regions.unpin(pin)
