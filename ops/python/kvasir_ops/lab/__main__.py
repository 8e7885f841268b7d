"""``./kvasir lab``: arguments, the run, the summary, the exit status."""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

from kvasir import KvasirError
from rich.console import Console

from kvasir_ops import home
from kvasir_ops.lab.faults import FaultKind, draw
from kvasir_ops.lab.namespaces import NetworkError
from kvasir_ops.lab.network import ETHERNET_MTU, unavailable
from kvasir_ops.lab.nodes import NodeSettings
from kvasir_ops.lab.run import Lab, LabError, LabPlan
from kvasir_ops.lab.summary import LabSummary, summary_table
from kvasir_ops.node_process import NodeFailedError
from kvasir_ops.replay.course import StandstillError
from kvasir_ops.replay.display import Display, LiveDisplay, PlainDisplay, Scene
from kvasir_ops.replay.stand_ins import StandInFailedError
from kvasir_ops.replay.tally import Tally
from kvasir_ops.replay.trace import read_trace

KIB = 1024
MIB = 1024 * KIB
_SHARED_MEMORY = Path("/dev/shm")
_COULD_NOT_RUN = (
    KvasirError, LabError, NetworkError, NodeFailedError, StandInFailedError, StandstillError, OSError, ValueError
)  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = argparse.ArgumentParser(
        prog="./kvasir lab",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Starts real nodes, each in a network namespace of its own, replays a trace through engine "
        "stand-ins attached to them, makes things go wrong meanwhile, and checks every byte. At the end it looks for "
        "every object that a node had acknowledged. Leaves nothing behind.",
        epilog="Exit status: 0 when no byte was wrong, nothing was lost and no call hung; 1 otherwise; 130 when "
        "interrupted.",
    )
    result.add_argument("--nodes", type=_positive, default=3, help="how many nodes")
    result.add_argument("--engines", type=_positive, default=1, help="engine stand-ins at each node")
    result.add_argument("--requests", type=_positive, default=300, help="how many requests to replay")
    result.add_argument("--trace", type=Path, metavar="FILE", help="another trace than the one that comes along")
    result.add_argument("--faults", type=int, default=5, metavar="N", help="how many things go wrong")
    result.add_argument(
        "--kinds",
        type=_kinds,
        default=",".join(kind.value for kind in FaultKind),
        metavar="LIST",
        help="of these kinds; nodes on loopback have those that need no network",
    )
    result.add_argument("--seed", type=int, metavar="N", help="of the schedule (default: drawn, and printed)")
    result.add_argument("--loopback", action="store_true", help="without namespaces; needs no root")
    result.add_argument("--alone", action="store_true", help="nodes that know nothing of each other, to compare")
    result.add_argument("--mtu", type=int, default=ETHERNET_MTU, help="of the network, in bytes")
    result.add_argument("--rate", type=float, default=0.0, metavar="MB_S", help="of each node's cable; 0: no limit")
    result.add_argument("--failure-timeout", type=float, default=2.0, metavar="S", help="when silence counts as death")
    result.add_argument("--object-kib", type=_positive, default=64, help="size of an object")
    result.add_argument("--dram-mib", type=_positive, default=256, help="DRAM of each node")
    result.add_argument("--ssd-mib", type=int, default=1024, help="SSD tier of each node; 0: none")
    result.add_argument(
        "--compute-tokens-per-s", type=_positive, default=100_000, help="how fast each stand-in pretends to compute"
    )
    result.add_argument("--json", type=Path, metavar="FILE", help="write the summary as JSON")
    result.add_argument("--plain", action="store_true", help="lines instead of a live display")
    result.add_argument("--state-dir", type=Path, default=home() / ".kvasir", help="where the SSD tiers go")
    return result


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1; seen: {value}")
    return value


def _kinds(text: str) -> list[FaultKind]:
    known = {kind.value: kind for kind in FaultKind}
    unknown = [word for word in text.split(",") if word not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"no fault of kind {', '.join(unknown)}; there are: {', '.join(known)}")
    return [known[word] for word in text.split(",")]


def main() -> int:
    """Exit status 0 when every byte was right, nothing was lost, and no call hung."""
    options = parser().parse_args()
    # Like Ctrl-C: the lab cleans up.
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console()
    reason = "" if options.loopback else unavailable()
    if reason:
        console.print(f"the lab could not run: {reason}; --loopback runs it without", highlight=False, soft_wrap=True)
        return 1
    try:
        summary = _run(options, console)
    except KeyboardInterrupt:
        console.print("interrupted; nothing is left behind", highlight=False)
        return 130
    except _COULD_NOT_RUN as error:
        console.print(f"the lab could not run: {error}", markup=False, highlight=False, soft_wrap=True)
        return 1
    console.print(summary_table(summary))
    if options.json:
        options.json.write_text(json.dumps(summary.as_json(), indent=2) + "\n", encoding="utf-8")
    if summary.problems:
        seen = ", ".join(f"{problem} {count}x" for problem, count in summary.problems.items())
        console.print(f"calls that failed and were computed instead: {seen}", markup=False, highlight=False)
    console.print(f"wrong bytes: {summary.wrong_bytes}", highlight=False)
    for failure in summary.failures:
        console.print(f"FAILED: {failure}", highlight=False)
    return 1 if summary.failures else 0


def _run(options: argparse.Namespace, console: Console) -> LabSummary:
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    names = [f"node-{number}" for number in range(1, options.nodes + 1)]
    kinds = [kind for kind in options.kinds if not (options.loopback and kind.needs_network)]
    requests = read_trace(options.requests, options.trace)
    options.state_dir.mkdir(parents=True, exist_ok=True)
    plan = LabPlan(
        home=home(),
        requests=requests,
        object_bytes=options.object_kib * KIB,
        names=names,
        settings=NodeSettings(
            dram_bytes=options.dram_mib * MIB,
            ssd_bytes=options.ssd_mib * MIB,
            pooled=not options.alone,
            failure_timeout_seconds=options.failure_timeout,
        ),
        faults=draw(seed, names, options.faults, kinds),
        seed=seed,
        compute_tokens_per_s=options.compute_tokens_per_s,
        shared_memory=_SHARED_MEMORY,
        state=options.state_dir,
        engines_per_node=options.engines,
        network=not options.loopback,
        mtu=options.mtu,
        bytes_per_s=options.rate * 1e6,
    )
    scene = Scene(Tally(requests, plan.object_bytes), title="Kvasir lab")
    live = console.is_terminal and not options.plain
    display: Display = LiveDisplay(console, scene) if live else PlainDisplay(console, scene)
    with display:
        display.event(f"seed {seed}; {len(plan.faults)} faults: " + "; ".join(str(fault) for fault in plan.faults))
        return Lab(plan, scene, display).run()


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
