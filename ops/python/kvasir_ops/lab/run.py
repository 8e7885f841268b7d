"""One run of the lab: nodes, a trace, faults, and the look at everything at the end."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from kvasir_ops.lab.faults import Fault
from kvasir_ops.lab.injector import Injector
from kvasir_ops.lab.network import ETHERNET_MTU, Network
from kvasir_ops.lab.nodes import Nodes, NodeSettings
from kvasir_ops.lab.pool import PoolProbe
from kvasir_ops.lab.summary import Checked, LabSummary, summarise
from kvasir_ops.replay.course import Course
from kvasir_ops.replay.display import Display, Scene
from kvasir_ops.replay.evictions import EvictionWatch
from kvasir_ops.replay.probe import Probe
from kvasir_ops.replay.stand_ins import StandIns
from kvasir_ops.replay.trace import TraceRequest, key_of

ONE_BOUND_SECONDS = 60.0
"""By then the nodes have to be one cache: at the start, and again after the last fault."""
_CHECK_SECONDS = 10.0


class LabError(Exception):
    """The run could not begin; the message says why."""


@dataclass(frozen=True)
class LabPlan:
    """What to run.

    ``checked``: every acknowledged object is looked for at the end; for nodes that have room for all of them.
    ``network``: every node in a namespace of its own; otherwise on loopback. ``mtu`` and ``bytes_per_s`` are of the
    cables; 0: no limit. Paths are directories that exist; what a run puts there is gone at its end.
    """

    home: Path
    requests: list[TraceRequest]
    object_bytes: int
    names: Sequence[str]
    settings: NodeSettings
    faults: Sequence[Fault]
    seed: int
    compute_tokens_per_s: float
    shared_memory: Path
    state: Path
    engines_per_node: int = 1
    network: bool = True
    checked: bool = True
    mtu: int = ETHERNET_MTU
    bytes_per_s: float = 0.0


class Lab:
    """One run. Everything it starts or makes is gone when :meth:`run` returns or raises."""

    def __init__(self, plan: LabPlan, scene: Scene, display: Display) -> None:
        self._plan = plan
        self._scene = scene
        self._display = display

    def run(self) -> LabSummary:
        """Runs to the end.

        Raises:
            LabError: the nodes did not become one cache at the start.
            NetworkError: the network cannot be made.
            NodeFailedError: a node ended by itself.
            StandInFailedError: an engine stand-in ended early.
            StandstillError: nothing moved for a minute.
        """
        plan = self._plan
        with ExitStack() as stack:
            network = stack.enter_context(Network(plan.names, plan.mtu, plan.seed)) if plan.network else None
            if network is not None and plan.bytes_per_s:
                for name in plan.names:
                    network.rate(name, plan.bytes_per_s)
            shared_memory, state = (_temporary(stack, parent) for parent in (plan.shared_memory, plan.state))
            nodes = stack.enter_context(Nodes(plan.home, plan.names, plan.settings, shared_memory, state, network))
            stand_ins = stack.enter_context(StandIns(plan.requests, plan.object_bytes, plan.compute_tokens_per_s))
            look = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="look"))
            course = Course(self._scene, self._display, stand_ins, lambda: self._look_after(nodes, injector))
            injector = Injector(nodes, network, plan.faults, plan.seed, course.say)

            began = time.monotonic()
            nodes.start(*plan.names)
            probes = {
                name: course.result_of(look.submit(Probe, nodes.socket(name), plan.object_bytes)) for name in plan.names
            }
            for probe in probes.values():
                stack.callback(probe.close)
            watches = {name: EvictionWatch(nodes.socket(name)) for name in plan.names}
            for watch in watches.values():
                stack.callback(watch.close)
            course.say(f"{len(plan.names)} nodes answer after {time.monotonic() - began:.1f} s")
            pool = stack.enter_context(PoolProbe({name: nodes.socket(name) for name in plan.names}, plan.object_bytes))
            if self._is_pool:
                if course.result_of(look.submit(pool.seconds_until_one, ONE_BOUND_SECONDS)) is None:
                    raise LabError(f"the nodes were no cache in common within {ONE_BOUND_SECONDS:.0f} s of their start")
                course.say(f"they are one cache after {time.monotonic() - began:.1f} s")

            for name in plan.names:
                for _ in range(plan.engines_per_node):
                    stand_ins.start(name, nodes.socket(name))
            self._scene.phase = "replaying the trace"
            course.served(len(plan.requests))
            self._scene.phase = "waiting for the last fault to end"
            course.until(lambda: injector.is_over, "the faults end")
            self._scene.phase = "healing"
            became_one = (
                course.result_of(look.submit(pool.seconds_until_one, ONE_BOUND_SECONDS)) if self._is_pool else None
            )
            self._scene.phase = "looking for every object"
            checked = Checked()
            for name in plan.names if plan.checked else ():
                chunks = list(self._scene.tally.acknowledged.get(name, {}))
                checked += course.result_of(look.submit(_check, probes[name], watches[name], chunks))
            self._scene.phase = "done"
        return summarise(
            self._scene.tally,
            checked,
            injector.injected,
            seed=plan.seed,
            nodes=len(plan.names),
            pooled=plan.settings.pooled,
            network=plan.network,
            seconds=self._scene.seconds,
            became_one_seconds=became_one,
        )

    @property
    def _is_pool(self) -> bool:
        return self._plan.settings.pooled and len(self._plan.names) > 1

    def _look_after(self, nodes: Nodes, injector: Injector) -> None:
        nodes.check()
        injector.tick(self._scene.tally.done / len(self._plan.requests))
        self._scene.nodes.update({name: nodes.state(name) for name in nodes.names})


def _temporary(stack: ExitStack, parent: Path) -> Path:
    made = Path(tempfile.mkdtemp(prefix="kvasir-lab-", dir=parent))
    stack.callback(shutil.rmtree, made, ignore_errors=True)
    return made


def _check(probe: Probe, watch: EvictionWatch, chunks: list[int]) -> Checked:
    loaded: set[int] = set()
    wrong = 0
    bound = time.monotonic() + _CHECK_SECONDS
    while True:
        rest = [chunk for chunk in chunks if chunk not in loaded and not watch.is_evicted(key_of(chunk))]
        if not rest or time.monotonic() > bound:
            break
        came, bad = probe.verified(rest, 0.0)
        loaded |= came
        wrong += bad
    missing = [chunk for chunk in chunks if chunk not in loaded]
    removed = sum(watch.is_evicted(key_of(chunk)) for chunk in missing)
    return Checked(len(chunks), len(loaded), removed, len(missing) - removed, wrong)
