"""The demo's course: start a node and the stand-ins, kill the node half-way, start it again, go on to the end."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kvasir import Tier
from rich.console import RenderableType

from kvasir_ops.demo.sizes import Sizes
from kvasir_ops.demo.summary import Restart, Summary, summarise
from kvasir_ops.node_process import NodePlaces, NodeProcess, configuration
from kvasir_ops.replay.course import Course
from kvasir_ops.replay.display import Display, Scene
from kvasir_ops.replay.evictions import EvictionWatch
from kvasir_ops.replay.probe import Probe
from kvasir_ops.replay.stand_ins import StandIns
from kvasir_ops.replay.trace import TraceRequest, endless_cache_hits, key_of

ENGINES = 2
NODE = "node"


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


@contextmanager
def temporary_places(shared_memory: Path, state: Path) -> Iterator[NodePlaces]:
    """Empty directories for one node; gone afterwards, whatever happens."""
    with ExitStack() as stack:
        made = []
        for parent in (shared_memory, state):
            parent.mkdir(parents=True, exist_ok=True)
            made.append(Path(tempfile.mkdtemp(prefix="kvasir-demo-", dir=parent)))
            stack.callback(shutil.rmtree, made[-1], ignore_errors=True)
        yield NodePlaces(*made)


class Demo:
    """One run. Everything it starts or makes is gone when :meth:`run` returns or raises."""

    def __init__(self, plan: Plan, scene: Scene, display: Display) -> None:
        self._plan = plan
        self._scene = scene
        self._display = display
        self.frames: list[RenderableType] = []

    def run(self) -> Summary:
        """Runs to the end.

        Raises:
            StandInFailedError: a stand-in ended early.
            StandstillError: nothing moved for a minute.
            NodeFailedError: the node ended by itself.
            KvasirError: the node did not answer in time.
        """
        plan = self._plan
        with ExitStack() as stack:
            places = stack.enter_context(temporary_places(plan.shared_memory, plan.state))
            settings = configuration(places, plan.sizes.dram_bytes, plan.sizes.ssd_bytes)
            node = stack.enter_context(NodeProcess(plan.home, places, settings))
            node.start()
            stand_ins = stack.enter_context(StandIns(plan.requests, plan.sizes.object_bytes, plan.compute_tokens_per_s))
            course = Course(self._scene, self._display, stand_ins, node.check)
            self.frames = course.frames
            look = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="probe"))
            probe = course.result_of(look.submit(Probe, str(places.socket), plan.sizes.object_bytes))
            stack.callback(probe.close)
            watch = EvictionWatch(str(places.socket))
            stack.callback(watch.close)
            course.say(f"the node answers after {time.monotonic() - node.started_at:.1f} s")
            for _ in range(ENGINES):
                stand_ins.start(NODE, str(places.socket))

            self._scene.phase = "replaying the trace"
            course.served(len(plan.requests) // 2)
            restart = self._kill_and_start(course, node, probe, watch, look)
            self._scene.phase = "replaying the trace, warm after kill -9"
            course.served(len(plan.requests))
            self._scene.phase = "done"
            course.draw()
        return summarise(
            self._scene.tally,
            restart,
            dram_bytes=plan.sizes.dram_bytes,
            ssd_bytes=plan.sizes.ssd_bytes,
            seconds=self._scene.seconds,
            endless_hits=endless_cache_hits(plan.requests),
            prefill_tokens_per_s=plan.prefill_tokens_per_s,
        )

    def _kill_and_start(
        self, course: Course, node: NodeProcess, probe: Probe, watch: EvictionWatch, look: ThreadPoolExecutor
    ) -> Restart:
        now = list(self._scene.tally.acknowledged.get(NODE, {}))
        expected = sorted(set(course.result_of(look.submit(probe.tiers, now)).values()))
        self._scene.phase = "kill -9 of the node"
        course.draw()
        killed_at = node.kill()
        course.say("kill -9: the engines go on without the node")
        # From this thread: the node ends with the thread that started it.
        node.start()
        known = self._acknowledged_before(killed_at)
        first_hits = course.result_of(look.submit(probe.first_hits, known, expected, node.started_at))
        # The request that a stand-in was serving at the kill is in its next report, with what was acknowledged of it.
        course.a_report_of_each()
        checked = self._acknowledged_before(killed_at)
        tiers = course.result_of(
            look.submit(probe.held, checked, lambda chunk: watch.is_evicted(key_of(chunk)), node.started_at)
        )
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
            f"started again: first verified hit after {first or '(none)'}; of {restart.checked:,} objects acknowledged "
            f"before the kill {restart.in_dram:,} are in DRAM, {restart.on_ssd:,} on SSD, "
            f"{restart.evicted} had been evicted for room, {restart.lost} are lost"
        )
        return restart

    def _acknowledged_before(self, instant: float) -> list[int]:
        return [chunk for chunk, at in self._scene.tally.acknowledged.get(NODE, {}).items() if at < instant]
