"""Makes a schedule of faults happen to a cluster, one after the other, and ends each in its time."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kvasir_ops.lab.conditions import Conditions
from kvasir_ops.lab.corruption import corrupt_dram, corrupt_ssd
from kvasir_ops.lab.faults import Fault, FaultKind
from kvasir_ops.lab.network import Network
from kvasir_ops.lab.nodes import Nodes

_REORDERED = 0.02
_DUPLICATED = 0.02


@dataclass(frozen=True)
class Injected:
    """A fault that was: seconds since the start of the run, and what was seen of it."""

    fault: Fault
    began: float
    ended: float
    corrupted: int = 0


class Injector:
    """Owned by the thread that runs the replay, which calls :meth:`tick` often and :meth:`finish` at the end."""

    def __init__(
        self,
        nodes: Nodes,
        network: Network | None,
        faults: Sequence[Fault],
        seed: int,
        say: Callable[[str], None],
    ) -> None:
        unfit = [str(fault) for fault in faults if fault.kind.needs_network and network is None]
        if unfit:
            raise ValueError(f"nodes on loopback cannot have these faults: {'; '.join(unfit)}")
        self._nodes = nodes
        self._network = network
        self._coming = deque(sorted(faults, key=lambda fault: fault.at))
        self._draw = random.Random(seed)
        self._say = say
        self._now: Fault | None = None
        self._began = 0.0
        self._corrupted = 0
        self._origin = time.monotonic()
        self.injected: list[Injected] = []
        self.corrupted_keys: set[bytes] = set()
        self.killed_at: dict[str, list[float]] = {}

    def tick(self, share: float) -> None:
        """Ends what is over and begins what is due; ``share`` of the requests are served."""
        if self._now is not None and time.monotonic() - self._began >= self._now.seconds:
            self._end()
        if self._now is None and self._coming and share >= self._coming[0].at:
            self._begin(self._coming.popleft())

    @property
    def is_over(self) -> bool:
        """True when nothing is wrong now and nothing will be."""
        return self._now is None and not self._coming

    def _begin(self, fault: Fault) -> None:
        self._now, self._began, self._corrupted = fault, time.monotonic(), 0
        self._say(f"fault: {fault}")
        kind = fault.kind
        if kind in (FaultKind.KILL, FaultKind.CORRUPT):
            for node in fault.nodes:
                self.killed_at.setdefault(node, []).append(self._nodes.kill(node))
                if kind == FaultKind.CORRUPT:
                    self._corrupt(node, round(fault.strength))
        elif kind == FaultKind.PAUSE:
            for node in fault.nodes:
                self._nodes.pause(node)
        else:
            self._change_network(fault)

    def _corrupt(self, node: str, count: int) -> None:
        places = self._nodes.process(node).places
        keys = corrupt_dram(places, count, self._draw)
        self.corrupted_keys |= keys
        self._corrupted = len(keys) + corrupt_ssd(places, count, self._draw)

    def _change_network(self, fault: Fault) -> None:
        network = self._network
        assert network is not None
        if fault.kind == FaultKind.PARTITION:
            network.partition(fault.nodes)
        elif fault.kind == FaultKind.ONE_WAY:
            for node in fault.nodes:
                for other in network.nodes:
                    if other != node:
                        network.shape(node, other, Conditions(blocked=True), both=False)
        elif fault.kind == FaultKind.LOSS:
            network.shape_all(Conditions(loss=fault.strength))
        else:
            network.shape_all(Conditions(delay=fault.strength, reorder=_REORDERED, duplicate=_DUPLICATED))

    def _end(self) -> None:
        fault = self._now
        assert fault is not None
        if fault.kind in (FaultKind.KILL, FaultKind.CORRUPT):
            self._nodes.start(*fault.nodes)
        elif fault.kind == FaultKind.PAUSE:
            for node in fault.nodes:
                self._nodes.resume(node)
        else:
            assert self._network is not None
            self._network.clear()
        ended = time.monotonic()
        self.injected.append(Injected(fault, self._began - self._origin, ended - self._origin, self._corrupted))
        self._now = None
