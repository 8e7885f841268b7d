"""``kill -9`` of a node in the middle of sending objects to another one: what the asking engine gets, and when.

Nodes of a cluster on loopback: one asks, one holds everything that is asked for, and several more that hold it too are
killed in turn, so that there is always one that has had time to come back.
"""

from __future__ import annotations

import hashlib
import random
import statistics
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from kvasir import Client, KvasirError, Lease, SlotStatus
from kvasir_ops.lab.nodes import Nodes, NodeSettings
from kvasir_ops.replay.content import Content
from kvasir_ops.replay.probe import connect

from kvasir_bench.node import MIB, NAMESPACE, START_BOUND_S
from kvasir_bench.objects import buffer, store_all

ASKER, SECOND = "asker", "second"
VICTIMS = ("victim-1", "victim-2", "victim-3")
OBJECT_BYTES = 1 * MIB
OBJECTS = 48
"""Pulled in one lookup, and held by the victim and by another node."""
ONLY = 8
"""Held by the victim alone; asked for after its death."""
WAIT_S = 2.0
DEADLINE_S = 3.0
FAILURE_S = 2.0
UNDISTURBED = 5
ASK_AFTER_S = 0.3
SEEN_BOUND_S = 60.0
PAUSE_S = 0.005
SMALLEST_PART = 0.02


@dataclass(frozen=True)
class Trial:
    """One death. ``hits`` of :data:`OBJECTS` came with the lookup that was under way, ``seconds`` after its start."""

    hits: int
    seconds: float
    wrong_bytes: int
    loaded_bytes: int
    asked_after: int
    false_hits: int

    @property
    def is_hit(self) -> bool:
        """All objects came in time."""
        return self.hits == OBJECTS and self.is_in_time

    @property
    def is_in_time(self) -> bool:
        """The engine had its answer within its deadline, whatever it was."""
        return self.seconds <= DEADLINE_S


class HolderDeath:
    """The nodes and their clients. A context manager; owned by one thread."""

    def __init__(self, home: Path, directory: Path, shared_memory: Path, seed: int) -> None:
        self._random = random.Random(seed)
        self._content = Content(OBJECT_BYTES)
        self._rows = buffer(OBJECTS, OBJECT_BYTES)
        self._stack = ExitStack()
        self._clients: dict[str, Client] = {}
        self._round = 0
        self.missed = 0
        self.undisturbed_seconds = 0.0
        memory, state = shared_memory / "holder-death", directory / "holder-death"
        memory.mkdir()
        state.mkdir()
        settings = NodeSettings(
            dram_bytes=256 * MIB,
            ssd_bytes=0,
            failure_timeout_seconds=FAILURE_S,
        )
        self._nodes = self._stack.enter_context(Nodes(home, (ASKER, SECOND, *VICTIMS), settings, memory, state))

    def start(self) -> None:
        """Starts the nodes, and measures pulls that nothing disturbs."""
        self._nodes.start(*self._nodes.names)
        for name in self._nodes.names:
            self._clients[name] = connect(self._nodes.socket(name), "bench", NAMESPACE, DEADLINE_S)
            self._stack.callback(self._clients[name].close)
        seconds: list[float] = []
        end = time.monotonic() + SEEN_BOUND_S
        while len(seconds) < UNDISTURBED:
            both, _ = self._prepare(VICTIMS[len(seconds) % len(VICTIMS)])
            began = time.monotonic()
            if self._pull(both) == (OBJECTS, 0):
                seconds.append(time.monotonic() - began)
            elif time.monotonic() > end:
                raise RuntimeError(f"pulls that nothing disturbs did not end in {SEEN_BOUND_S:.0f} s")
        self.undisturbed_seconds = statistics.median(seconds)

    def trial(self) -> Trial:
        """Kills a holder while it sends; tries again when the transfer was over before."""
        while True:
            self._round += 1
            victim = VICTIMS[self._round % len(VICTIMS)]
            both, only = self._prepare(victim)
            kill = _KillLater(self._nodes, victim, self.undisturbed_seconds * self._random.uniform(SMALLEST_PART, 1.0))
            began = time.monotonic()
            kill.start()
            hits, wrong = self._pull(both)
            answered = time.monotonic()
            kill.join()
            assert kill.killed_at is not None
            false_hits = self._ask(only)
            self._nodes.start(victim)
            if began < kill.killed_at < answered:
                return Trial(hits, answered - began, wrong, hits * OBJECT_BYTES, ONLY, false_hits)
            self.missed += 1

    # ---- parts of a trial

    def _prepare(self, victim: str) -> tuple[list[bytes], list[bytes]]:
        """Stores new objects at the second holder, then at the victim, and waits until the asker knows of them."""
        label = f"{self._round}/{self._random.getrandbits(64)}"
        both = [_key(f"{label}/both/{number}") for number in range(OBJECTS)]
        only = [_key(f"{label}/only/{number}") for number in range(ONLY)]
        self._wait_for(victim)
        for holder, keys in ((SECOND, both), (victim, [*both, *only])):
            # Stored last and announced last: when the asker gets this one, it has heard of those before it.
            last = _key(f"{label}/last/{holder}")
            store_all(self._clients[holder], [*keys, last], self._content)
            end = time.monotonic() + SEEN_BOUND_S
            while self._pull([last]) != (1, 0):
                if time.monotonic() > end:
                    raise RuntimeError(f"what {holder} stored was not seen within {SEEN_BOUND_S:.0f} s")
                time.sleep(PAUSE_S)
        return both, only

    def _wait_for(self, name: str) -> None:
        end = time.monotonic() + START_BOUND_S
        while True:
            self._nodes.check()
            try:
                self._clients[name].ping(deadline=1.0)
                return
            except KvasirError:
                if time.monotonic() > end:
                    raise
                time.sleep(PAUSE_S)

    def _pull(self, keys: Sequence[bytes]) -> tuple[int, int]:
        """What an engine does: how many leading objects it got, and how many of their bytes were wrong."""
        try:
            with self._clients[ASKER].lookup(keys, wait=WAIT_S, deadline=DEADLINE_S) as lease:
                return self._load(lease, keys)
        except KvasirError:
            return 0, 0

    def _load(self, lease: Lease, keys: Sequence[bytes]) -> tuple[int, int]:
        if lease.hit_chunks == 0:
            return 0, 0
        loaded = self._clients[ASKER].load(lease, self._rows[: lease.hit_chunks]).leading_chunks
        wrong = sum(self._content.wrong_bytes(key, row) for key, row in zip(keys, self._rows[:loaded], strict=False))
        return loaded, wrong

    def _ask(self, keys: Sequence[bytes]) -> int:
        """How many of the keys are answered as hits."""
        try:
            with self._clients[ASKER].lookup(keys, sparse=True, wait=ASK_AFTER_S) as lease:
                return int(np.count_nonzero(lease.slots["status"] == SlotStatus.HIT))
        except KvasirError:
            return 0

    def close(self) -> None:
        """Ends everything. Idempotent."""
        self._stack.close()

    def __enter__(self) -> HolderDeath:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


class _KillLater(threading.Thread):
    """Sends SIGKILL after a time. Only sends it: the process belongs to the thread that started it."""

    def __init__(self, nodes: Nodes, name: str, seconds: float) -> None:
        super().__init__(daemon=True)
        self._nodes = nodes
        self._name = name
        self._seconds = seconds
        self.killed_at: float | None = None

    def run(self) -> None:
        """Waits and kills."""
        end = time.monotonic() + self._seconds
        # Spins at the end: a sleep alone may be late by as much as the transfer takes.
        while (left := end - time.monotonic()) > 0:
            if left > 0.002:
                time.sleep(left - 0.002)
        self.killed_at = self._nodes.kill(self._name)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=32).digest()
