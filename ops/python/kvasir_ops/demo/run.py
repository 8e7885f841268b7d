"""The demo's course: three nodes as one cache and an engine at each; one node joins, one is killed and comes back."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from kvasir import Tier
from rich.console import RenderableType

from kvasir_ops.demo.sizes import Sizes
from kvasir_ops.demo.summary import Join, Restart, Summary, summarise
from kvasir_ops.lab.nodes import Nodes, NodeSettings
from kvasir_ops.lab.pool import PoolProbe
from kvasir_ops.node_process import temporary_places
from kvasir_ops.replay.course import Course
from kvasir_ops.replay.display import Display, Scene
from kvasir_ops.replay.evictions import EvictionWatch
from kvasir_ops.replay.probe import Probe
from kvasir_ops.replay.stand_ins import StandIns
from kvasir_ops.replay.trace import TraceRequest, endless_cache_hits, key_of

NODES = ("node-1", "node-2", "node-3")
KILLED = "node-2"
JOINS = "node-4"
# Shares of the requests. However busy the machine is, the trace waits for a node that takes its time: it goes on past a
# share of `..._HOLD` when the node that joins, or that comes back, has given hits.
_JOIN_AT = 0.15
_JOIN_HOLD = 0.35
_KILL_AT = 0.4
_RETURN_AT = 0.45
_RETURN_HOLD = 0.55
_ONE_BOUND_SECONDS = 120.0
# A node of the demo lives for less than a minute: the time that the second compiler takes does not come back.
_JVM_OPTIONS = "-XX:TieredStopAtLevel=1"


class NoPoolError(Exception):
    """The nodes did not become one cache; the message says how long they had."""


@dataclass(frozen=True)
class Plan:
    """What to run; see the command's help for the meaning of the speeds."""

    home: Path
    requests: list[TraceRequest]
    sizes: Sizes
    compute_tokens_per_s: float
    prefill_tokens_per_s: float
    shared_memory: Path
    state: Path


class Demo:
    """One run. Everything it starts or makes is gone when :meth:`run` returns or raises."""

    def __init__(self, plan: Plan, scene: Scene, display: Display) -> None:
        self._plan = plan
        self._scene = scene
        self._display = display
        self._look = ThreadPoolExecutor(1, thread_name_prefix="look")
        self.frames: list[RenderableType] = []

    def run(self) -> Summary:
        """Runs to the end.

        Raises:
            NoPoolError: the nodes did not find each other.
            StandInFailedError: a stand-in ended early.
            StandstillError: nothing moved for a minute.
            NodeFailedError: a node ended by itself.
            KvasirError: a node did not answer in time.
        """
        plan = self._plan
        served = len(plan.requests)
        with ExitStack() as stack:
            stack.callback(self._look.shutdown)
            places = stack.enter_context(temporary_places(plan.shared_memory, plan.state, "kvasir-demo-"))
            settings = NodeSettings(plan.sizes.dram_bytes, plan.sizes.ssd_bytes, jvm_options=_JVM_OPTIONS)
            nodes = stack.enter_context(Nodes(plan.home, (*NODES, JOINS), settings, places.shared_memory, places.state))
            stand_ins = stack.enter_context(StandIns(plan.requests, plan.sizes.object_bytes, plan.compute_tokens_per_s))
            course = Course(self._scene, self._display, stand_ins, lambda: self._look_after(nodes))
            self.frames = course.frames
            self._start(course, nodes)
            probe = course.result_of(self._look.submit(Probe, nodes.socket(KILLED), plan.sizes.object_bytes))
            stack.callback(probe.close)
            watch = EvictionWatch(nodes.socket(KILLED))
            stack.callback(watch.close)
            for name in NODES:
                stand_ins.start(name, nodes.socket(name))

            self._scene.phase = "replaying the trace"
            stand_ins.hold_back(round(_JOIN_HOLD * served))
            course.served(round(_JOIN_AT * served))
            join = self._join(course, nodes, stand_ins)
            self._scene.phase = "replaying the trace, with four nodes"
            stand_ins.hold_back(round(_RETURN_HOLD * served))
            course.served(round(_KILL_AT * served))
            expected = self._before_the_kill(course, probe)
            killed_at = nodes.kill(KILLED)
            course.say(f"kill -9 of {KILLED}: its engine goes on without it, the others without what only it had")
            course.served(round(_RETURN_AT * served))
            restart = self._come_back(course, nodes, probe, watch, killed_at, expected)
            self._scene.phase = "replaying the trace, with all four nodes again"
            stand_ins.hold_back(served)
            course.served(served)
            self._scene.phase = "done"
            course.draw()
        return summarise(
            self._scene.tally,
            restart,
            join,
            dram_bytes=plan.sizes.dram_bytes,
            ssd_bytes=plan.sizes.ssd_bytes,
            seconds=self._scene.seconds,
            endless_hits=endless_cache_hits(plan.requests),
            prefill_tokens_per_s=plan.prefill_tokens_per_s,
        )

    def _start(self, course: Course, nodes: Nodes) -> None:
        began = time.monotonic()
        nodes.start(*NODES)
        seconds = course.result_of(self._look.submit(self._wait_until_one, nodes))
        if seconds is None:
            raise NoPoolError(f"the nodes were no cache in common within {_ONE_BOUND_SECONDS:.0f} s of their start")
        course.say(f"{len(NODES)} nodes are one cache, {time.monotonic() - began:.1f} s after their start")

    def _wait_until_one(self, nodes: Nodes) -> float | None:
        sockets = {name: nodes.socket(name) for name in NODES}
        with PoolProbe(sockets, self._plan.sizes.object_bytes) as pool:
            return pool.seconds_until_one(_ONE_BOUND_SECONDS)

    def _before_the_kill(self, course: Course, probe: Probe) -> list[Tier]:
        """What the node has before it is killed: the tiers that have to give hits again afterwards."""
        chunks = list(self._scene.tally.acknowledged.get(KILLED, {}))
        expected = sorted(set(course.result_of(self._look.submit(probe.tiers, chunks)).values()) - {Tier.REMOTE})
        self._scene.phase = f"kill -9 of {KILLED}"
        course.draw()
        return expected

    def _join(self, course: Course, nodes: Nodes, stand_ins: StandIns) -> Join:
        began = time.monotonic()
        nodes.start(JOINS)
        self._scene.phase = f"{JOINS} joins"
        course.say(f"{JOINS} joins, empty, with an engine of its own")
        probe = course.result_of(self._look.submit(Probe, nodes.socket(JOINS), self._plan.sizes.object_bytes))
        answers = time.monotonic() - began
        stand_ins.start(JOINS, nodes.socket(JOINS))
        # Of one node and the other in turn, newest first: what was asked for lately is asked for again.
        others = [reversed(self._scene.tally.acknowledged.get(name, {})) for name in NODES if name != KILLED]
        chunks = [chunk for row in zip_longest(*others) for chunk in row if chunk is not None]
        first = course.result_of(self._look.submit(probe.first_load, chunks, began))
        probe.close()
        if first is not None:
            course.say(f"{JOINS} answers after {answers:.1f} s; its first hit from another came after {first:.1f} s")
        return Join(answers_seconds=answers, first_hit_seconds=first)

    def _come_back(
        self,
        course: Course,
        nodes: Nodes,
        probe: Probe,
        watch: EvictionWatch,
        killed_at: float,
        expected: list[Tier],
    ) -> Restart:
        self._scene.phase = f"{KILLED} comes back"
        # From this thread: the node ends with the thread that started it.
        nodes.start(KILLED)
        started_at = nodes.process(KILLED).started_at
        known = self._acknowledged_before(killed_at)
        first_hits = course.result_of(self._look.submit(probe.first_hits, known, expected, started_at))
        # The request that a stand-in was serving at the kill is in its next report, with what was acknowledged of it.
        course.a_report_of_each()
        checked = self._acknowledged_before(killed_at)
        tiers = course.result_of(self._look.submit(probe.held, checked, lambda chunk: watch.is_evicted(key_of(chunk))))
        missing = [chunk for chunk in checked if chunk not in tiers]
        evicted = sum(watch.is_evicted(key_of(chunk)) for chunk in missing)
        restart = Restart(
            checked=len(checked),
            evicted=evicted,
            lost=len(missing) - evicted,
            first_hit_seconds=first_hits,
            in_dram=sum(tier == Tier.DRAM for tier in tiers.values()),
            on_ssd=sum(tier == Tier.SSD for tier in tiers.values()),
        )
        first = ", ".join(f"{tier.upper()} {seconds:.2f} s" for tier, seconds in first_hits.items())
        course.say(
            f"{KILLED} started again: first verified hit after {first or '(none)'}; of {restart.checked:,} objects "
            f"acknowledged before the kill {restart.in_dram:,} are in DRAM, {restart.on_ssd:,} on SSD, "
            f"{restart.evicted} had been evicted for room, {restart.lost} are lost"
        )
        return restart

    def _acknowledged_before(self, instant: float) -> list[int]:
        return [chunk for chunk, at in self._scene.tally.acknowledged.get(KILLED, {}).items() if at < instant]

    def _look_after(self, nodes: Nodes) -> None:
        nodes.check()
        shown = [name for name in nodes.names if name in self._scene.nodes or name in nodes.running]
        self._scene.nodes = {name: nodes.state(name) for name in shown}
