"""What goes wrong in a run, and when: drawn from a seed, or written down."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class FaultKind(str, Enum):
    """What can be done to a cluster. The value is the word on the command line."""

    KILL = "kill"
    """``kill -9`` of a node, which is started again afterwards on its files."""
    PAUSE = "pause"
    """SIGSTOP of a node, then SIGCONT."""
    CORRUPT = "corrupt"
    """``kill -9`` of a node; bytes of objects in its DRAM and on its SSD are changed before it is started again."""
    PARTITION = "partition"
    """Nothing passes between one node and the others."""
    ONE_WAY = "one-way"
    """Nothing passes from one node to the others; what they send arrives."""
    LOSS = "loss"
    """A share of the packets between all nodes is lost."""
    DELAY = "delay"
    """Packets between all nodes are late, and some are reordered and duplicated."""

    @property
    def needs_network(self) -> bool:
        """True for what nodes on loopback cannot have."""
        return self in (FaultKind.PARTITION, FaultKind.ONE_WAY, FaultKind.LOSS, FaultKind.DELAY)


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    ``at`` is the share of the requests that are served when it begins, 0 to 1; it ends after ``seconds``. ``nodes``
    names whom it hits; empty: all. ``strength`` is a share of packets for LOSS, seconds one way for DELAY, and a number
    of objects for CORRUPT.
    """

    kind: FaultKind
    at: float
    seconds: float
    nodes: tuple[str, ...] = ()
    strength: float = 0.0

    def __str__(self) -> str:
        whom = ", ".join(self.nodes) or "all"
        strength = {
            FaultKind.LOSS: f" {self.strength:.1%}",
            FaultKind.DELAY: f" {self.strength * 1000:.1f} ms",
            FaultKind.CORRUPT: f" {self.strength:.0f} objects",
        }.get(self.kind, "")
        return f"{self.kind.value}{strength} of {whom}, {self.seconds:.1f} s"


def draw(seed: int, nodes: Sequence[str], count: int, kinds: Sequence[FaultKind]) -> list[Fault]:
    """``count`` faults over a run, in order, each of one of ``kinds``; all kinds come before one comes again."""
    if count and not kinds:
        raise ValueError("no kind of fault is left to draw from")
    drawn = random.Random(seed)
    order: list[FaultKind] = []
    while len(order) < count:
        order += drawn.sample(list(kinds), len(kinds))
    faults = []
    for number, kind in enumerate(order[:count]):
        at = (number + drawn.uniform(0.5, 1.0)) / (count + 1)
        node = (drawn.choice(nodes),)
        if kind == FaultKind.LOSS:
            faults.append(Fault(kind, at, drawn.uniform(1.0, 3.0), strength=drawn.uniform(0.005, 0.1)))
        elif kind == FaultKind.DELAY:
            faults.append(Fault(kind, at, drawn.uniform(1.0, 3.0), strength=drawn.uniform(0.001, 0.02)))
        elif kind == FaultKind.CORRUPT:
            faults.append(Fault(kind, at, drawn.uniform(0.1, 0.5), node, strength=drawn.randint(1, 20)))
        elif kind == FaultKind.PAUSE:
            # Some are over before the node counts as failed, some are not.
            faults.append(Fault(kind, at, drawn.uniform(0.2, 5.0), node))
        else:
            faults.append(Fault(kind, at, drawn.uniform(0.2, 4.0), node))
    return faults
