"""The suite ``restart``: ``kill -9`` at random instants under load, and what the next start gives back.

What must be there after a kill is known in three ways, none of which believes the node that starts:

- DRAM: the header tables of the dead node, read from outside. Every key in them that a client was told is committed
  has to come back with its bytes.
- DRAM: the newest acknowledged objects, up to a share of the capacity, whatever the headers say, except those whose
  eviction was reported. So an acknowledgement that came before its header was written is found too.
- SSD: objects whose STORED event for the tier SSD a client has seen, and no REMOVED event, except for the older half,
  which eviction may have taken after the last event that could be delivered.

An object counts as lost when it is none of leased, loaded and equal to its content. Every byte loaded, here and by the
load itself, is compared.
"""

from __future__ import annotations

import multiprocessing
import random
import statistics
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kvasir import Client, KvasirError

from kvasir_ops.arena_headers import committed_keys
from kvasir_ops.bench.context import Context
from kvasir_ops.bench.event_watch import EventWatch
from kvasir_ops.bench.kill_load import LOADED_BATCH, SIZES, Assignment, Names, acknowledged, contents, work
from kvasir_ops.bench.node import MIB, Node, NodeError
from kvasir_ops.bench.objects import Bytes, buffer
from kvasir_ops.bench.records import Record, at_most, record

DRAM_BYTES = 192 * MIB
SSD_BYTES = 512 * MIB
REGION_BYTES = 16 * MIB
EXTENT_BYTES = 32 * MIB
WORKERS = 2
NEWEST_SHARE = 0.15
"""Of DRAM: the newest acknowledged objects, up to this many bytes; the older ones may be evicted at any moment."""
SSD_SHARE = 0.5
"""Of what is durable: the newer part, which eviction from SSD had not reached."""
LOAD_S = (0.3, 2.5)
FIRST_HIT_LIMIT_S = 3.0
RESTART_BOUND_S = 30.0
FETCH_S = 5.0
# By then the events of a removal have been delivered.
EVENTS_S = 0.5
ACKNOWLEDGED_BOUND_S = 30.0
FILL_BOUND_S = 120.0
OVERFLOWED = 100
HIT_CANDIDATES = 16
HIT_WAIT_S = 0.5


@dataclass(frozen=True)
class Known:
    """An acknowledged object, by key."""

    size: int
    at: float


@dataclass
class Kill:
    """What one kill showed."""

    acknowledged_before: int
    expected_dram: int = 0
    expected_newest: int = 0
    expected_ssd: int = 0
    hits: int = 0
    lost_headers: int = 0
    lost_newest: int = 0
    lost_ssd: int = 0
    evicted_in_check: int = 0
    damaged: int = 0
    late: int = 0
    wrong: int = 0
    first_hit_s: dict[str, float] = field(default_factory=dict)

    @property
    def lost_dram(self) -> int:
        """Committed and not evicted, and gone."""
        return self.lost_headers + self.lost_newest

    def as_json(self) -> dict[str, Any]:
        """For the record."""
        return vars(self) | {"first_hit_s": {tier: round(value, 3) for tier, value in self.first_hit_s.items()}}


class KillTest:
    """A node, processes that load it, and the kills. Used by the suite and by the test of the same name."""

    def __init__(self, home: Path, directory: Path, shared_memory: Path, seed: int) -> None:
        self._seed = seed
        self._random = random.Random(seed)
        self._journals = [directory / f"journal-{worker}" for worker in range(WORKERS)]
        settings = {
            "dram": {"capacity": f"{DRAM_BYTES}B", "region": f"{REGION_BYTES}B"},
            "ssd": {"capacity": f"{SSD_BYTES}B", "extent": f"{EXTENT_BYTES}B"},
            "engine": {"events_kept": 1 << 20},
        }
        self.node = Node(home, directory / "node", shared_memory / "node", settings)
        self._contents = contents()
        self._rows: dict[int, Bytes] = {size: buffer(LOADED_BATCH, size) for size in SIZES}
        processes = multiprocessing.get_context("spawn")
        self._go, self._end = processes.Event(), processes.Event()
        self._paused = [processes.Event() for _ in range(WORKERS)]
        self.wrong_under_load = processes.Value("q", 0)
        self._processes = [
            processes.Process(
                target=work,
                args=(
                    Assignment(self.node.socket, worker, seed, self._journals[worker]),
                    self._go,
                    self._paused[worker],
                    self._end,
                    self.wrong_under_load,
                ),
                daemon=True,
            )
            for worker in range(WORKERS)
        ]
        self._watch: EventWatch | None = None
        self._damaged = 0

    def start(self) -> float:
        """Starts everything; seconds until the empty node gave back what was stored in it."""
        begin = self.node.start()
        with self.node.client() as client:
            key, content = b"\0" * 32, self._contents[SIZES[0]]
            content.write(key, self._rows[SIZES[0]][0])
            client.store([key], self._rows[SIZES[0]][:1], wait=1.0)
            hits, wrong = self._check(client, [(key, SIZES[0])], 0.0)
            if len(hits) != 1 or wrong:
                raise NodeError("the node did not give back the first object that was stored")
            first = time.monotonic() - begin
        self._watch = EventWatch(self.node.socket)
        for process in self._processes:
            process.start()
        self._fill()
        return first

    def _fill(self) -> None:
        """Loads until DRAM has overflowed to SSD, so that every kill falls into demotion and eviction."""
        assert self._watch is not None
        self._go.set()
        end = time.monotonic() + FILL_BOUND_S
        while len(self._watch.left_dram().intersection(self._watch.durable())) < OVERFLOWED:
            self.node.check_alive()
            if time.monotonic() > end:
                raise NodeError(f"fewer than {OVERFLOWED} objects went from DRAM to SSD within {FILL_BOUND_S:g} s")
            time.sleep(0.05)

    def close(self) -> None:
        """Ends load, watch and node."""
        self._end.set()
        self._go.set()
        for process in self._processes:
            if process.pid is not None:
                process.join(10)
                process.kill()
                process.join()
        if self._watch is not None:
            self._watch.close()
        self.node.close()

    def kill(self) -> Kill:
        """Loads the node for a random time, kills it, starts it again, and checks all that must be there."""
        assert self._watch is not None
        before = len(self._acknowledged())
        self._go.set()
        self._await_acknowledgements(before)
        time.sleep(self._random.uniform(*LOAD_S))  # the random instant itself: nothing is waited for
        self.node.kill()
        durable, evicted = self._watch.durable(), self._watch.left_dram()
        self._pause()
        known = self._acknowledged()
        result = Kill(acknowledged_before=len(known) - before)
        in_headers = [key for key in committed_keys(self.node.arena) if key in known]
        newest = [key for key in self._newest(known) if key not in evicted]
        on_ssd = [key for key in durable[int(len(durable) * (1 - SSD_SHARE)) :] if key in known]
        result.expected_dram, result.expected_newest = len(in_headers), len(newest)
        result.expected_ssd = len(set(on_ssd) - set(in_headers))
        self._watch.forget_removed()
        begin = self.node.start()
        with self.node.client(deadline=10.0) as client:
            self._first_hits(client, result, known, in_headers, on_ssd, begin)
            checked = set(in_headers)
            result.lost_headers = self._lost(client, known, in_headers, result)
            result.lost_newest = self._lost(client, known, [key for key in newest if key not in checked], result)
            checked.update(newest)
            result.lost_ssd = self._lost(client, known, [key for key in on_ssd if key not in checked], result)
        result.damaged = self.node.damaged_objects() - self._damaged
        self._damaged += result.damaged
        return result

    def _await_acknowledgements(self, before: int) -> None:
        end = time.monotonic() + ACKNOWLEDGED_BOUND_S
        while len(self._acknowledged()) == before:
            self.node.check_alive()
            if time.monotonic() > end:
                raise NodeError(f"nothing was acknowledged within {ACKNOWLEDGED_BOUND_S:g} s")
            time.sleep(0.02)

    def _pause(self) -> None:
        for event in self._paused:
            event.clear()
        self._go.clear()
        for worker, event in enumerate(self._paused):
            if not event.wait(RESTART_BOUND_S):
                raise NodeError(f"load process {worker} hangs: a call passed its deadline")

    def _acknowledged(self) -> dict[bytes, Known]:
        known: dict[bytes, Known] = {}
        for worker, journal in enumerate(self._journals):
            names = Names(self._seed, worker)
            for at, number in acknowledged(journal):
                known[names.key(number)] = Known(Names.size(number), at)
        return known

    @staticmethod
    def _newest(known: dict[bytes, Known]) -> list[bytes]:
        chosen: list[bytes] = []
        room = DRAM_BYTES * NEWEST_SHARE
        for key, what in sorted(known.items(), key=lambda item: -item[1].at):
            room -= what.size
            if room < 0:
                break
            chosen.append(key)
        return chosen

    def _first_hits(
        self,
        client: Client,
        result: Kill,
        known: dict[bytes, Known],
        in_headers: Sequence[bytes],
        on_ssd: Sequence[bytes],
        begin: float,
    ) -> None:
        there = set(in_headers)
        for tier, keys in (("dram", in_headers), ("ssd", [key for key in on_ssd if key not in there])):
            candidates = keys[-HIT_CANDIDATES:]
            while candidates and tier not in result.first_hit_s and time.monotonic() - begin < RESTART_BOUND_S:
                for key in reversed(candidates):
                    hits, wrong = self._check(client, [(key, known[key].size)], HIT_WAIT_S)
                    result.wrong += wrong
                    if hits:
                        result.first_hit_s[tier] = time.monotonic() - begin
                        break

    def _lost(self, client: Client, known: dict[bytes, Known], keys: Sequence[bytes], result: Kill) -> int:
        missing: set[bytes] = set()
        for size in SIZES:
            mine = [key for key in keys if known[key].size == size]
            for first in range(0, len(mine), LOADED_BATCH):
                batch = [(key, size) for key in mine[first : first + LOADED_BATCH]]
                hits, wrong = self._check(client, batch, FETCH_S)
                result.hits += len(hits)
                result.wrong += wrong
                missing.update(key for key, _ in batch)
                missing.difference_update(hits)
        if missing:
            # The check itself fetches and so evicts: what the node reports as removed while it serves is not lost by
            # the kill. An object dropped as damaged is reported in the same way, and counted from the log.
            time.sleep(EVENTS_S)
            assert self._watch is not None
            explained = missing & self._watch.removed()
            result.evicted_in_check += len(explained)
            missing -= explained
        for key in sorted(missing):
            # A fetch that found no room in DRAM is a miss too; what can be had when asked again is late, not lost.
            hits, wrong = self._check(client, [(key, known[key].size)], FETCH_S)
            result.wrong += wrong
            result.late += len(hits)
            missing.difference_update(hits)
        return len(missing)

    def _check(self, client: Client, batch: Sequence[tuple[bytes, int]], wait: float) -> tuple[list[bytes], int]:
        """The keys of objects of one size that came back, and how many of their bytes are wrong."""
        size = batch[0][1]
        keys = [key for key, _ in batch]
        rows = self._rows[size][: len(keys)]
        end = time.monotonic() + RESTART_BOUND_S
        while True:
            try:
                with client.lookup(keys, sparse=True, wait=wait) as lease:
                    loaded = client.load(lease, rows).loaded[:, 0]
                break
            except KvasirError:
                if time.monotonic() > end:
                    raise
                self.node.check_alive()
        arrived = [(key, row) for key, row, there in zip(keys, rows, loaded, strict=True) if there]
        return [key for key, _ in arrived], sum(self._contents[size].wrong_bytes(key, row) for key, row in arrived)


def run(context: Context) -> Generator[Record, None, None]:
    """At least as many kills as asked for; three records."""
    context.say(f"restart: {context.kills} kills, seed {context.seed}")
    with ExitStack() as stack:
        test = KillTest(context.home, context.directory, context.shared_memory, context.seed)
        stack.enter_context(closing(test))
        empty_start = test.start()
        kills: list[Kill] = []
        for number in range(context.kills):
            kills.append(test.kill())
            last = kills[-1]
            context.say(
                f"restart: kill {number + 1} of {context.kills}: {last.acknowledged_before} acknowledged, "
                f"first hits {last.as_json()['first_hit_s']}, {last.hits} hits checked, "
                f"lost {last.lost_dram} + {last.lost_ssd} + {last.damaged} damaged, wrong bytes {last.wrong}"
            )
        wrong = sum(kill.wrong for kill in kills) + test.wrong_under_load.value
    yield from _records(kills, wrong, empty_start)


def _records(kills: Sequence[Kill], wrong: int, empty_start: float) -> Iterator[Record]:
    unproved = sum(
        kill.acknowledged_before == 0
        or "dram" not in kill.first_hit_s
        or ("ssd" not in kill.first_hit_s and kill.expected_ssd > 0)
        for kill in kills
    )
    if unproved:
        raise NodeError(f"{unproved} of {len(kills)} kills had no acknowledged commit before or no hit of a tier after")
    slowest = [max(kill.first_hit_s.values()) for kill in kills]
    yield record(
        "restart.first_hit",
        f"from the new start to the first verified hits from DRAM and from SSD, the slowest of {len(kills)} kills",
        "s",
        [max(slowest)],
        "the same node on empty directories, to the first verified hit of an object stored then",
        [empty_start],
        at_most(plus=FIRST_HIT_LIMIT_S),
        kills=len(kills),
        median=round(statistics.median(slowest), 3),
        dram_median=round(statistics.median(kill.first_hit_s["dram"] for kill in kills), 3),
        ssd_median=round(statistics.median(kill.first_hit_s["ssd"] for kill in kills if "ssd" in kill.first_hit_s), 3),
    )
    yield record(
        "restart.lost",
        f"objects that had to be there after kill -9 and were not, over {len(kills)} kills under load",
        "objects",
        [float(sum(kill.lost_dram + kill.lost_ssd + kill.damaged for kill in kills))],
        "objects that had to be there: committed in DRAM at the kill, or reported durable on SSD",
        [float(sum(kill.hits + kill.lost_dram + kill.lost_ssd for kill in kills))],
        at_most(),
        lost_dram=sum(kill.lost_dram for kill in kills),
        lost_ssd=sum(kill.lost_ssd for kill in kills),
        damaged=sum(kill.damaged for kill in kills),
        late=sum(kill.late for kill in kills),
        evicted_in_check=sum(kill.evicted_in_check for kill in kills),
        each=[kill.as_json() for kill in kills],
    )
    yield record(
        "restart.wrong",
        f"wrong bytes over {len(kills)} kills, under load and after each start",
        "bytes",
        [float(wrong)],
        "objects that were loaded and compared after the kills, all their bytes",
        [float(sum(kill.hits for kill in kills))],
        at_most(),
    )
