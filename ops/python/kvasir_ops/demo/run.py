"""The demo's course: start a node and the stand-ins, kill the node half-way, start it again, go on to the end."""

from __future__ import annotations

import multiprocessing
import queue
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TypeVar

from kvasir import Tier
from rich.console import RenderableType

from kvasir_ops.demo.display import Display, Scene, event_line, panel
from kvasir_ops.demo.engine import EngineSettings, run_engine
from kvasir_ops.demo.evictions import EvictionWatch
from kvasir_ops.demo.probe import Probe
from kvasir_ops.demo.sizes import Sizes
from kvasir_ops.demo.tally import RequestReport, Restart, Summary, Tally, summarise
from kvasir_ops.demo.trace import TraceRequest, endless_cache_hits, key_of
from kvasir_ops.node_process import NodePlaces, NodeProcess, configuration

ENGINES = 2
_QUIET_BOUND_SECONDS = 60.0
_LOOK_SECONDS = 0.1


_Result = TypeVar("_Result")


class DemoError(Exception):
    """The demo could not go on; the message says why."""


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
        self._context = multiprocessing.get_context("spawn")
        self._reports: queue.Queue[RequestReport] = self._context.Queue()  # type: ignore[assignment]  # same methods
        # Kept here: its semaphore has a name, which goes when this object goes, and the processes open it by that.
        self._ticket = self._context.Value("i", 0)
        self._engines: list[SpawnProcess] = []
        self._reported: set[int] = set()
        self.frames: list[RenderableType] = []

    @property
    def _tally(self) -> Tally:
        return self._scene.tally

    def run(self) -> Summary:
        """Runs to the end.

        Raises:
            DemoError: a stand-in ended early, or nothing moved for a minute.
            NodeFailedError: the node ended by itself.
            KvasirError: the node did not answer in time.
        """
        plan = self._plan
        with ExitStack() as stack:
            places = stack.enter_context(temporary_places(plan.shared_memory, plan.state))
            settings = configuration(places, plan.sizes.dram_bytes, plan.sizes.ssd_bytes)
            node = stack.enter_context(NodeProcess(plan.home, places, settings))
            node.start()
            look = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="probe"))
            probe = self._while_showing(look.submit(Probe, str(places.socket), plan.sizes.object_bytes), node)
            stack.callback(probe.close)
            watch = EvictionWatch(str(places.socket))
            stack.callback(watch.close)
            self._say(f"the node answers after {time.monotonic() - node.started_at:.1f} s")
            stack.callback(self._end_engines)
            self._start_engines(str(places.socket))

            self._phase("replaying the trace")
            self._serve_until(len(plan.requests) // 2, node)
            restart = self._kill_and_start(node, probe, watch, look)
            self._phase("replaying the trace, warm after kill -9")
            self._serve_until(len(plan.requests), node)
            self._phase("done")
            self.frames.append(panel(self._scene))
        return summarise(
            self._tally,
            restart,
            dram_bytes=plan.sizes.dram_bytes,
            ssd_bytes=plan.sizes.ssd_bytes,
            seconds=self._scene.seconds,
            endless_hits=endless_cache_hits(plan.requests),
            prefill_tokens_per_s=plan.prefill_tokens_per_s,
        )

    def _kill_and_start(
        self, node: NodeProcess, probe: Probe, watch: EvictionWatch, look: ThreadPoolExecutor
    ) -> Restart:
        now = list(self._tally.acknowledged)
        expected = sorted(set(self._while_showing(look.submit(probe.tiers, now), node).values()))
        self._phase("kill -9 of the node")
        self.frames.append(panel(self._scene))
        killed_at = node.kill()
        self._say("kill -9: the engines go on without the node")
        # From this thread: the node ends with the thread that started it.
        node.start()
        known = self._acknowledged_before(killed_at)
        first_hits = self._while_showing(look.submit(probe.first_hits, known, expected, node.started_at), node)
        # The request that a stand-in was serving at the kill is in its next report, with what was acknowledged of it.
        self._wait_for_each_engine(node)
        checked = self._acknowledged_before(killed_at)
        tiers = self._while_showing(
            look.submit(probe.held, checked, lambda chunk: watch.is_evicted(key_of(chunk)), node.started_at), node
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
        self._say(
            f"started again: first verified hit after {first or '(none)'}; of {restart.checked:,} objects acknowledged "
            f"before the kill {restart.in_dram:,} are in DRAM, {restart.on_ssd:,} on SSD, "
            f"{restart.evicted} had been evicted for room, {restart.lost} are lost"
        )
        return restart

    def _acknowledged_before(self, instant: float) -> list[int]:
        return [chunk for chunk, at in self._tally.acknowledged.items() if at < instant]

    def _wait_for_each_engine(self, node: NodeProcess) -> None:
        self._reported.clear()
        bound = time.monotonic() + _QUIET_BOUND_SECONDS
        while len(self._reported) < ENGINES and self._tally.done < len(self._plan.requests):
            self._take_reports(_LOOK_SECONDS)
            self._look_after(node)
            if time.monotonic() > bound:
                raise DemoError(f"an engine stand-in served nothing for {_QUIET_BOUND_SECONDS:.0f} s after the restart")

    def _start_engines(self, socket: str) -> None:
        plan = self._plan
        for number in range(ENGINES):
            settings = EngineSettings(number, socket, plan.requests, plan.sizes.object_bytes, plan.compute_tokens_per_s)
            process = self._context.Process(
                target=run_engine, args=(settings, self._ticket, self._reports), daemon=True, name=f"engine-{number}"
            )
            process.start()
            self._engines.append(process)

    def _end_engines(self) -> None:
        for process in self._engines:
            process.kill()
            process.join()

    def _serve_until(self, done: int, node: NodeProcess) -> None:
        last_report = time.monotonic()
        while self._tally.done < done:
            if self._take_reports(_LOOK_SECONDS):
                last_report = time.monotonic()
            elif time.monotonic() - last_report > _QUIET_BOUND_SECONDS:
                raise DemoError(f"no request was served for {_QUIET_BOUND_SECONDS:.0f} s")
            self._look_after(node)

    def _while_showing(self, future: Future[_Result], node: NodeProcess) -> _Result:
        while not future.done():
            self._take_reports(_LOOK_SECONDS)
            self._look_after(node)
        return future.result()

    def _take_reports(self, wait: float) -> bool:
        """Counts the reports that are there; waits a moment for the first. True when there was one."""
        try:
            report = self._reports.get(timeout=wait)
        except queue.Empty:
            return False
        while True:
            self._tally.add(report)
            self._reported.add(report.engine)
            try:
                report = self._reports.get_nowait()
            except queue.Empty:
                return True

    def _look_after(self, node: NodeProcess) -> None:
        self._display.refresh()
        node.check()
        for process in self._engines:
            if process.exitcode:
                raise DemoError(f"{process.name} ended with status {process.exitcode}")

    def _phase(self, phase: str) -> None:
        self._scene.phase = phase

    def _say(self, text: str) -> None:
        self._display.event(text)
        self.frames.append(event_line(self._scene.seconds, text))
