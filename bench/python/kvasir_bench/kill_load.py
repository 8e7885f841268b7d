"""What the kill test's processes do: store and load without pause, note what was acknowledged, check every byte.

Each process writes its acknowledgements to a file of its own before it goes on, so that what was acknowledged when the
node died is known whatever happens. The suite ``restart`` starts and pauses them.
"""

from __future__ import annotations

import random
import signal
import struct
import time
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path

from kvasir import Client, KvasirError, SlotStatus
from kvasir_ops.replay.content import Content

from kvasir_bench.node import NAMESPACE
from kvasir_bench.objects import Bytes, buffer, key_of

SIZES = (4096, 64 << 10, 256 << 10, 1 << 20)
"""Objects of several sizes at once, so that regions and extents are cut anew and used again."""

BATCH = 8
LOADED_BATCH = 8
REMEMBERED = 4000
CALL_S = 2.0
ENTRY = struct.Struct("<dI")
"""An acknowledgement: ``time.monotonic()`` of it, and the object's number. Its size follows from the number."""


@dataclass(frozen=True)
class Assignment:
    """What one process is told."""

    socket: str
    worker: int
    seed: int
    journal: Path


class Names:
    """Keys and sizes of one process's objects; both follow from worker and number, here and in the suite."""

    def __init__(self, run: int, worker: int) -> None:
        self._prefix = f"kill {run} {worker}"

    def key(self, number: int) -> bytes:
        """The object's key."""
        return key_of(self._prefix, number)

    @staticmethod
    def size(number: int) -> int:
        """The object's bytes: a batch has one size, and sizes take turns."""
        return SIZES[number // BATCH % len(SIZES)]


def contents() -> dict[int, Content]:
    """A maker and checker of content for each size."""
    return {size: Content(size) for size in SIZES}


def acknowledged(journal: Path, first: int = 0) -> list[tuple[float, int]]:
    """The entries of a journal from entry ``first`` on, in order."""
    if not journal.exists():
        return []
    with journal.open("rb") as file:
        file.seek(first * ENTRY.size)
        data = file.read()
    return list(ENTRY.iter_unpack(data[: len(data) // ENTRY.size * ENTRY.size]))


def work(assignment: Assignment, go: Event, paused: Event, end: Event, wrong: Synchronized[int]) -> None:
    """The process's main: works while ``go`` is set, says ``paused`` while it is not, until ``end``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with assignment.journal.open("ab", buffering=0) as journal:
        worker = _Worker(assignment, journal.write, wrong)
        try:
            while not end.is_set():
                if go.is_set():
                    worker.step()
                else:
                    paused.set()
                    go.wait(0.05)
                    if go.is_set():
                        paused.clear()
        finally:
            worker.close()


class _Worker:
    """One client that stores fresh objects and loads older ones."""

    def __init__(self, assignment: Assignment, note: object, wrong: Synchronized[int]) -> None:
        assert callable(note)
        self._assignment = assignment
        self._note = note
        self._wrong = wrong
        self._random = random.Random(assignment.seed * 1000 + assignment.worker)
        self._names = Names(assignment.seed, assignment.worker)
        self._contents = contents()
        self._rows: dict[int, Bytes] = {size: buffer(max(BATCH, LOADED_BATCH), size) for size in SIZES}
        self._client: Client | None = None
        self._next = 0
        self._done: list[int] = []

    def step(self) -> None:
        """One store or load. A node that is away or busy is nothing unusual here."""
        try:
            if self._client is None:
                self._client = Client.connect(
                    self._assignment.socket,
                    namespace=NAMESPACE,
                    name=f"kill load {self._assignment.worker}",
                    deadline=CALL_S,
                    attach_deadline=CALL_S,
                )
            if self._done and self._random.random() < 0.3:
                self._load(self._client)
            else:
                self._store(self._client)
        except KvasirError:
            time.sleep(0.005)

    def _store(self, client: Client) -> None:
        numbers = list(range(self._next, self._next + BATCH))
        self._next += BATCH
        size = Names.size(numbers[0])
        rows = self._rows[size][:BATCH]
        keys = [self._names.key(number) for number in numbers]
        for key, row in zip(keys, rows, strict=True):
            self._contents[size].write(key, row)
        done = client.store(keys, rows, wait=1.0)
        for number, status in zip(numbers, done.statuses, strict=True):
            if status == SlotStatus.COMMITTED:
                self._note(ENTRY.pack(time.monotonic(), number))
                self._done.append(number)
        del self._done[:-REMEMBERED]

    def _load(self, client: Client) -> None:
        size = Names.size(self._random.choice(self._done))
        fitting = [number for number in self._done if Names.size(number) == size]
        numbers = self._random.sample(fitting, min(LOADED_BATCH, len(fitting)))
        keys = [self._names.key(number) for number in numbers]
        rows = self._rows[size][: len(keys)]
        with client.lookup(keys, sparse=True, wait=0.2) as lease:
            loaded = client.load(lease, rows).loaded[:, 0]
        bad = sum(
            self._contents[size].wrong_bytes(key, row)
            for key, row, arrived in zip(keys, rows, loaded, strict=True)
            if arrived
        )
        if bad:
            with self._wrong.get_lock():
                self._wrong.value += bad

    def close(self) -> None:
        """Ends the attachment."""
        if self._client is not None:
            self._client.close()
