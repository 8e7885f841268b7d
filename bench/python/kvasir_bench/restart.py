"""The suite ``restart``: ``kill -9`` at random instants under load, and what the next start gives back.

What must be there after a kill is known in three ways, none of which believes the node that starts:

- DRAM: the header tables of the dead node, read from outside. Every key in them that a client was told is committed
  has to come back with its bytes.
- DRAM: the newest acknowledged objects, up to a share of the capacity, whatever the headers say, except those that
  were evicted. So an acknowledgement that came before its header was written is found too.
- SSD: the newer half of the objects whose STORED event for the tier SSD a client has seen, and no REMOVED event, except
  those that were evicted.

A node that dies cannot report its last evictions, and by age alone nothing is safe from them: a tier evicts by use and
by size, and whole regions and extents at once. So its files are asked, as it left them: an object was evicted from SSD
when RocksDB's log removes its place, and from DRAM when it was reported stored there and no slot is committed or
reserved for it. Those are counted apart. Of what counts as lost, the record of the kill says what tells the cause.

An object counts as lost when it is none of leased, loaded and equal to its content. Every byte loaded, here and by the
load itself, is compared.
"""

from __future__ import annotations

import multiprocessing
import random
import shutil
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvasir import Client, KvasirError, SlotStatus, Tier
from kvasir_ops.arena_headers import committed_keys, occupied_keys

from kvasir_bench.campaign import Campaign, Kill, commit_of, records
from kvasir_bench.context import Context
from kvasir_bench.event_watch import EventWatch
from kvasir_bench.kill_load import SIZES, Assignment, Names, acknowledged, contents, work
from kvasir_bench.lost_objects import Asked, DeadFiles, counters, describe
from kvasir_bench.node import MIB, Node, NodeError, read_metric
from kvasir_bench.objects import Bytes, buffer
from kvasir_bench.records import Record

DRAM_BYTES = 192 * MIB
SSD_BYTES = 512 * MIB
REGION_BYTES = 16 * MIB
EXTENT_BYTES = 32 * MIB
WORKERS = 2
NEWEST_SHARE = 0.15
"""Of DRAM: the newest acknowledged objects, up to this many bytes."""
SSD_SHARE = 0.5
"""Of what is durable: the newer part; to check all of it would evict as much."""
LOAD_S = (0.3, 2.5)
RESTART_BOUND_S = 30.0
FETCH_S = 5.0
# By then the events of a removal have been delivered.
EVENTS_S = 0.5
ACKNOWLEDGED_BOUND_S = 30.0
FILL_BOUND_S = 120.0
OVERFLOWED = 100
HIT_CANDIDATES = 16
HIT_WAIT_S = 0.5
CHECKED_BYTES = 8 * MIB
CHECKED_MOST = 64
"""Objects that the check loads at once, and their bytes: thousands are checked at each kill."""
FAILURES_IN_A_ROW = 3
"""Kills that cannot run, one after the other, before a campaign gives up."""


@dataclass(frozen=True)
class Known:
    """An acknowledged object, by key."""

    size: int
    at: float


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
            "http": {"address": "127.0.0.1:0"},
        }
        self.node = Node(home, directory / "node", shared_memory / "node", settings)
        self._contents = contents()
        self._rows: dict[int, Bytes] = {size: buffer(self._at_once(size), size) for size in SIZES}
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
        self._known: dict[bytes, Known] = {}
        self._asked: dict[bytes, Asked] = {}
        """Of the node that runs: those that did not come at the first time."""
        self._started = 0.0
        self._read = [0] * WORKERS
        self._acknowledged = 0

    def start(self) -> float:
        """Starts everything; seconds until the empty node gave back what was stored in it."""
        begin = self._started = self.node.start()
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
        began, wrong_before = time.monotonic(), self.wrong_under_load.value
        self._read_journals()
        before = self._acknowledged
        self._go.set()
        self._await_acknowledgements(before)
        time.sleep(self._random.uniform(*LOAD_S))  # the random instant itself: nothing is waited for
        self.node.kill()
        killed = time.monotonic()
        self._ask_to_pause()
        durable, evicted = self._watch.durable(), self._watch.left_dram()
        self._read_journals()
        known = self._known
        result = Kill(acknowledged_before=self._acknowledged - before)
        in_headers = [key for key in committed_keys(self.node.arena) if key in known]
        newest = [key for key in self._newest(known) if key not in evicted]
        on_ssd = [key for key in durable[int(len(durable) * (1 - SSD_SHARE)) :] if key in known]
        dead = DeadFiles(self.node.ssd_places, self.node.ssd_extents)
        newest, on_ssd, result.evicted_untold = self._without_evicted(newest, on_ssd, in_headers, dead)
        result.expected_dram, result.expected_newest = len(in_headers), len(newest)
        result.expected_ssd = len(set(on_ssd) - set(in_headers))
        self._watch.forget_removed()
        self._asked.clear()
        begin = self._started = self.node.start()
        with self.node.client(deadline=10.0) as client:
            self._first_hits(client, result, known, in_headers, on_ssd, begin)
            # A load process may be in a call that waits for the node: what it stores in the new one is not known yet.
            self._await_pause()
            answered = time.monotonic()
            checked = set(in_headers)
            lost = self._lost(client, known, in_headers, result)
            result.lost_headers = len(lost)
            missing = self._lost(client, known, [key for key in newest if key not in checked], result)
            result.lost_newest = len(missing)
            lost += missing
            checked.update(newest)
            missing = self._lost(client, known, [key for key in on_ssd if key not in checked], result)
            result.lost_ssd = len(missing)
            lost += missing
            if lost:
                result.lost_objects = describe(
                    lost, lambda key: known[key].size, dead, self._asked, lambda key: self._peek(client, key)
                )
                port = self.node.http_port()
                result.counters = counters(lambda name: read_metric(port, name) if port else None)
        result.damaged = self.node.damaged_objects() - self._damaged
        self._damaged += result.damaged
        result.wrong_under_load = self.wrong_under_load.value - wrong_before
        self._forget({*in_headers, *newest, *durable})
        ended = time.monotonic()
        result.seconds = ended - began
        result.spent_s = {
            "load": killed - began,
            "files": begin - killed,
            "start": answered - begin,
            "check": ended - answered,
        }
        return result

    def _without_evicted(
        self, newest: Sequence[bytes], on_ssd: Sequence[bytes], in_headers: Sequence[bytes], dead: DeadFiles
    ) -> tuple[list[bytes], list[bytes], int]:
        """What had to be in either tier, less what its files say the dead node had evicted, and how many those are."""
        assert self._watch is not None
        committed, came = set(in_headers), self._watch.came_to_dram()
        left_ssd = dead.removed()
        left_dram = came - occupied_keys(self.node.arena)
        stay_in_dram = [key for key in newest if key not in left_dram]
        stay_on_ssd = [key for key in on_ssd if key not in left_ssd]
        self._watch.forget_durable(left_ssd)
        gone = set(newest).union(on_ssd) - set(stay_in_dram).union(stay_on_ssd) - committed
        return stay_in_dram, stay_on_ssd, len(gone)

    def _await_acknowledgements(self, before: int) -> None:
        end = time.monotonic() + ACKNOWLEDGED_BOUND_S
        while self._acknowledged == before:
            self._read_journals()
            self.node.check_alive()
            if time.monotonic() > end:
                raise NodeError(f"nothing was acknowledged within {ACKNOWLEDGED_BOUND_S:g} s")
            time.sleep(0.02)

    def _ask_to_pause(self) -> None:
        for event in self._paused:
            event.clear()
        self._go.clear()

    def _await_pause(self) -> None:
        for worker, event in enumerate(self._paused):
            if not event.wait(RESTART_BOUND_S):
                raise NodeError(f"load process {worker} hangs: a call passed its deadline")

    def _read_journals(self) -> None:
        """Goes on where it stopped: after many kills the journals are long."""
        for worker, journal in enumerate(self._journals):
            names = Names(self._seed, worker)
            entries = acknowledged(journal, self._read[worker])
            for at, number in entries:
                self._known[names.key(number)] = Known(Names.size(number), at)
            self._read[worker] += len(entries)
            self._acknowledged += len(entries)

    def _forget(self, kept: set[bytes]) -> None:
        """What is in no tier any more is not asked for again."""
        assert self._watch is not None
        self._read_journals()
        newer = set(self._newest(self._known))
        self._known = {key: what for key, what in self._known.items() if key in kept or key in newer}
        self._watch.forget_others(self._known)

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
            # Spread over all of them: the newest may all have been evicted by the new node already.
            candidates = keys[:: max(1, len(keys) // HIT_CANDIDATES)]
            while candidates and tier not in result.first_hit_s and time.monotonic() - begin < RESTART_BOUND_S:
                for key in reversed(candidates):
                    hits, wrong = self._check(client, [(key, known[key].size)], HIT_WAIT_S)
                    result.wrong += wrong
                    if hits:
                        result.first_hit_s[tier] = time.monotonic() - begin
                        break

    @staticmethod
    def _at_once(size: int) -> int:
        return min(CHECKED_MOST, CHECKED_BYTES // size)

    def _lost(self, client: Client, known: dict[bytes, Known], keys: Sequence[bytes], result: Kill) -> list[bytes]:
        missing: set[bytes] = set()
        for size in SIZES:
            mine = [key for key in keys if known[key].size == size]
            for first in range(0, len(mine), self._at_once(size)):
                batch = [(key, size) for key in mine[first : first + self._at_once(size)]]
                hits, wrong = self._check(client, batch, FETCH_S)
                result.hits += len(hits)
                result.wrong += wrong
                missing.update(key for key, _ in batch)
                missing.difference_update(hits)
        assert self._watch is not None
        # The check itself fetches and so evicts: what the node reports as removed while it serves is not lost by the
        # kill. An object dropped as damaged is reported in the same way, and counted from the log.
        end = time.monotonic() + EVENTS_S
        while missing - self._watch.removed() and time.monotonic() < end:
            time.sleep(0.02)
        # A fetch that found no room in DRAM is a miss too, as long as what is there is not durable yet; what can be had
        # when asked again is late, not lost. Every answer makes room for others and may evict them.
        end = time.monotonic() + FETCH_S
        again = True
        while missing and again:
            again = time.monotonic() < end
            for key in sorted(missing - self._watch.removed()):
                hits, wrong = self._check(client, [(key, known[key].size)], FETCH_S)
                result.wrong += wrong
                result.late += len(hits)
                missing.difference_update(hits)
            explained = missing & self._watch.removed()
            result.evicted_in_check += len(explained)
            missing -= explained
            time.sleep(EVENTS_S / 10 if missing else 0)
        if missing:
            self._watch.forget_durable(missing)
        return sorted(missing)

    @staticmethod
    def _peek(client: Client, key: bytes) -> str:
        """Where the node says that an object is, when nothing is fetched for the answer."""
        try:
            with client.lookup([key], sparse=True, peek=True) as found:
                return _answer(found.slots[0, 0])
        except KvasirError as error:
            return f"{type(error).__name__}: {error}"

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
                    at = time.monotonic() - self._started
                    for key, slot, there in zip(keys, lease.slots[:, 0], loaded, strict=True):
                        if not there:
                            self._asked.setdefault(key, Asked()).add(at, _answer(slot))
                break
            except KvasirError:
                if time.monotonic() > end:
                    raise
                self.node.check_alive()
        arrived = [(key, row) for key, row, there in zip(keys, rows, loaded, strict=True) if there]
        return [key for key, _ in arrived], sum(self._contents[size].wrong_bytes(key, row) for key, row in arrived)


def _answer(slot: Any) -> str:
    """A record of a lookup, for people."""
    return f"{SlotStatus(int(slot['status'])).name} {Tier(int(slot['tier'])).name}"


def run(context: Context) -> Generator[Record, None, None]:
    """As many kills as asked for, with those of the campaign that goes on; three records over all of them."""
    with closing(Campaign(context.resume)) as campaign:
        done = len(campaign.kills)
        if done:
            context.say(f"restart: {done} kills of {len(campaign.parts)} parts are in {context.resume}")
        # A part that goes on draws other instants than the parts before it.
        seed = context.seed + done + len(campaign.failures)
        in_a_row = 0
        while len(campaign.kills) < context.kills:
            before = len(campaign.kills)
            try:
                _part(context, campaign, seed)
            except Exception as error:
                why = f"{type(error).__name__}: {error}"
                campaign.add_failure(why)
                context.skip(f"restart: a kill after {len(campaign.kills)}", why)
                in_a_row = in_a_row + 1 if len(campaign.kills) == before else 1
                if in_a_row == FAILURES_IN_A_ROW:
                    break
            seed += len(campaign.kills) - before + 1
        if campaign.unproved:
            context.skip("restart", f"{campaign.unproved} kills had no commit before or no hit of a tier after")
        yield from records(campaign)


def _part(context: Context, campaign: Campaign, seed: int) -> None:
    """Kills of one node, until there are as many as asked for or one could not run."""
    context.say(f"restart: {context.kills - len(campaign.kills)} kills, seed {seed}")
    number = len(campaign.parts)
    places = (context.directory / f"restart-{number}", context.shared_memory / f"restart-{number}")
    with ExitStack() as stack:
        for place in places:
            place.mkdir()
            stack.callback(shutil.rmtree, place, ignore_errors=True)
        test = stack.enter_context(closing(KillTest(context.home, *places, seed)))
        campaign.begin(seed, commit_of(context.home), test.start())
        while len(campaign.kills) < context.kills:
            last = test.kill()
            campaign.add(last)
            context.say(
                f"restart: kill {len(campaign.kills)} of {context.kills}, {last.seconds:.1f} s: "
                f"{last.acknowledged_before} acknowledged, first hits {last.as_json()['first_hit_s']}, "
                f"{last.hits} hits checked, lost {last.lost_dram} + {last.lost_ssd} + {last.damaged} damaged, "
                f"wrong bytes {last.wrong + last.wrong_under_load}; so far: {campaign.summary()}"
            )
