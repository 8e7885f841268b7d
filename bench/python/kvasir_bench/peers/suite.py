"""The suite ``peers``: asks Kvasir's driver and the peers' drivers for the same jobs in turn, round by round."""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kvasir_bench.context import Context
from kvasir_bench.machine import BusyMeter
from kvasir_bench.peers.driven import Driven, DriverError
from kvasir_bench.peers.drivers.protocol import OBJECT_BYTES, OBJECTS
from kvasir_bench.peers.environments import LMCACHE, MOONCAKE, PEERS, REDIS, Peer, PeerUnavailableError, prepare
from kvasir_bench.records import Goal, Record, at_least, at_most, record

KVASIR = "kvasir"
IDLE_S = 2.0

Medians = dict[tuple[str, str], list[float]]
"""For each job and system one figure a round: the median of the round's calls."""


@dataclass(frozen=True)
class Job:
    """One job: how its seconds become the record's value, what is timed with each peer, and the goals."""

    name: str
    title: str
    unit: str
    goals: dict[str, Goal]
    scope: dict[str, str] = field(default_factory=dict)

    def value(self, seconds: float) -> float:
        """A median call's seconds in the record's unit."""
        if self.unit == "GB/s":
            return OBJECTS * OBJECT_BYTES / seconds / 1e9
        return seconds * 1e6


JOBS = (
    Job(
        "load.1m.512",
        "512 objects of 1 MiB with one request, lookup + load + release",
        "GB/s",
        {LMCACHE.name: at_least(1.6), MOONCAKE.name: at_least(4), REDIS.name: at_least(1)},
        {
            LMCACHE.name: "shared memory, retrieve only (prepare + copy + commit), without its lookup and session end",
            MOONCAKE.name: "TCP, batch_get_into",
            REDIS.name: "Unix socket, one pipeline of GET, copied into the destination",
        },
    ),
    Job(
        "load.1m.1",
        "one object of 1 MiB, whole call, lookup + load + release",
        "us",
        {LMCACHE.name: at_most(1 / 4), MOONCAKE.name: at_most(1 / 2), REDIS.name: at_most(1)},
        {
            LMCACHE.name: "shared memory, whole call: lookup + retrieve + session end",
            MOONCAKE.name: "TCP, get_into",
            REDIS.name: "Unix socket, GET, copied into the destination",
        },
    ),
    Job(
        "lookup.512",
        "lookup of 512 keys that are all there",
        "us",
        {LMCACHE.name: at_most(1 / 20), MOONCAKE.name: at_most(1 / 2), REDIS.name: at_most(1)},
        {
            LMCACHE.name: "lookup and the wait for its answer",
            MOONCAKE.name: "batch_is_exist",
            REDIS.name: "one pipeline of EXISTS",
        },
    ),
)


def run(context: Context) -> Generator[Record, None, None]:
    """Starts every system that this machine can run, measures them in turn, and yields a record for each pair."""
    with ExitStack() as stack:
        drivers = _start(context, stack)
        # All of them wait while one is measured; what they burn meanwhile is part of the record.
        meter = BusyMeter()
        time.sleep(IDLE_S)
        idle = round(meter.cores(), 2)
        medians, details = _measure(context, drivers)
        for job in JOBS:
            for peer in PEERS:
                yield _record(job, peer, medians, details, idle)


def _start(context: Context, stack: ExitStack) -> dict[str, Driven]:
    drivers: dict[str, Driven] = {}
    for peer in PEERS:
        try:
            python = prepare(peer, context.install_system, context.say)
            context.say(f"{peer.title}: starting, storing {OBJECTS} objects ...")
            driven = Driven(peer.title, python, peer.driver, context.directory / "peers" / peer.name)
        except (PeerUnavailableError, DriverError) as error:
            context.skip(f"peers.{peer.name}", f"{peer.title} is left out: {error}")
            continue
        drivers[peer.name] = stack.enter_context(closing(driven))
    context.say(f"Kvasir: starting, storing {OBJECTS} objects ...")
    kvasir = Driven("Kvasir", Path(sys.executable), "kvasir_driver.py", context.directory / "peers" / KVASIR)
    drivers[KVASIR] = stack.enter_context(closing(kvasir))
    return drivers


def _measure(context: Context, drivers: dict[str, Driven]) -> tuple[Medians, dict[tuple[str, str], dict[str, Any]]]:
    """Round 0 warms, verifies every byte, and does not count; the order of the systems changes all the time."""
    medians: Medians = {(job.name, name): [] for job in JOBS for name in drivers}
    details: dict[tuple[str, str], dict[str, Any]] = {}
    shuffler = random.Random(context.seed)
    for turn in range(context.runs + 1):
        for job in JOBS:
            order = list(range(OBJECTS))
            shuffler.shuffle(order)
            for name in shuffler.sample(list(drivers), len(drivers)):
                context.say(f"peers: round {turn} of {context.runs}, {job.name}, {name}")
                answer = drivers[name].ask(job.name, order, verify=turn == 0)
                if answer.wrong:
                    raise DriverError(f"{name}: {answer.wrong} objects came back with wrong bytes in {job.name}")
                if turn:
                    medians[job.name, name].append(job.value(statistics.median(answer.seconds)))
                    details[job.name, name] = answer.details
    return medians, details


def _record(
    job: Job, peer: Peer, medians: Medians, details: dict[tuple[str, str], dict[str, Any]], idle: float
) -> Record:
    values, references = medians[job.name, KVASIR], medians.get((job.name, peer.name), [])
    return record(
        f"peers.{peer.name}.{job.name}",
        f"{job.title}, beside {peer.title}",
        job.unit,
        values,
        f"{peer.title} {peer.version}, {job.scope[peer.name]}" if references else None,
        references,
        job.goals[peer.name],
        cores_busy_while_all_wait=idle,
        details=details.get((job.name, peer.name), {}),
        kvasir_details=details.get((job.name, KVASIR), {}),
    )


def plot(records: Sequence[Record], place: Path) -> None:
    """Draws each job's figures of all systems, from records that :func:`run` made."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(JOBS), figsize=(11, 3.4), layout="constrained")
    for axis, job in zip(axes, JOBS, strict=True):
        mine = [item for item in records if item.id.startswith("peers.") and item.id.endswith(job.name)]
        bars = [("Kvasir", mine[0].value)] if mine else []
        for peer in PEERS:
            bars += [(peer.title, item.reference_value) for item in mine if item.id == f"peers.{peer.name}.{job.name}"]
        shown = [(title, value) for title, value in bars if value is not None]
        colours = ["#2f6fb0", *["#a8b4c0"] * (len(shown) - 1)]
        drawn = axis.bar([title for title, _ in shown], [value for _, value in shown], color=colours[: len(shown)])
        axis.bar_label(drawn, fmt="{:.2f}" if job.unit == "GB/s" else "{:,.0f}")
        better = "more" if job.unit == "GB/s" else "less"
        axis.set(title=job.name, ylabel=f"{job.unit} ({better} is better)")
        axis.spines[["top", "right"]].set_visible(False)
    place.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(place, metadata={"Date": None})
    pyplot.close(figure)
