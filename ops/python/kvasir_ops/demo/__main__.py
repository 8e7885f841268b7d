"""``./kvasir demo``: arguments, the run, the summary, the exit status."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

from kvasir import KvasirError
from rich.console import Console

from kvasir_ops import home
from kvasir_ops.demo.run import NODES, Demo, NoPoolError, Plan
from kvasir_ops.demo.sizes import TooSmallError, choose_sizes
from kvasir_ops.demo.summary import Summary, summary_table
from kvasir_ops.node_process import NodeFailedError
from kvasir_ops.replay.course import StandstillError
from kvasir_ops.replay.display import Display, LiveDisplay, PlainDisplay, Scene, save_picture
from kvasir_ops.replay.stand_ins import StandInFailedError
from kvasir_ops.replay.tally import Tally
from kvasir_ops.replay.trace import read_trace

SHARED_MEMORY = Path("/dev/shm")
_COULD_NOT_RUN = (
    KvasirError, NoPoolError, NodeFailedError, StandInFailedError, StandstillError, TooSmallError, OSError, ValueError
)  # fmt: skip
_DEFAULT_REQUESTS = 600
_COMPUTE_TOKENS_PER_S = 400_000
_PREFILL_TOKENS_PER_S = 10_000


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = argparse.ArgumentParser(
        prog="./kvasir demo",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Starts three nodes that are one cache, and an engine stand-in at each, in processes of their own. "
        "Replays the start of a real trace of conversations (Mooncake, FAST'25); meanwhile one node is killed with "
        "kill -9, another one joins, and the killed one comes back. Every byte that is loaded is compared. Leaves "
        "nothing behind.",
    )
    result.add_argument(
        "--engine",
        choices=("stand-ins", "vllm"),
        default="stand-ins",
        help="vllm: instead, two real vLLM servers with a tiny model on this machine's CPU, and a conversation that "
        "moves between them (installs vLLM outside the tree the first time, about 6 GB; needs 7 GiB of memory)",
    )
    result.add_argument("--plain", action="store_true", help="lines instead of a live display")
    result.add_argument("--json", type=Path, metavar="FILE", help="write the summary as JSON")
    result.add_argument("--picture", type=Path, metavar="FILE", help="write an SVG of the run")
    result.add_argument("--requests", type=_positive, default=_DEFAULT_REQUESTS, help="how many requests to replay")
    result.add_argument(
        "--trace", type=Path, help="another trace of the same form (default: the slice that comes along)"
    )
    result.add_argument(
        "--compute-tokens-per-s",
        type=_positive,
        default=_COMPUTE_TOKENS_PER_S,
        help="how fast each stand-in pretends to compute; faster than an engine, so that the demo is short",
    )
    result.add_argument(
        "--prefill-tokens-per-s",
        type=_positive,
        default=_PREFILL_TOKENS_PER_S,
        help="the speed of a real engine, for the estimate of the time that was saved",
    )
    result.add_argument("--state-dir", type=Path, default=home() / ".kvasir", help="where the SSD tiers of the demo go")
    return result


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1; seen: {value}")
    return value


def main() -> int:
    """Exit status 0 when bytes were right, nothing was lost, and the pool gave hits before and after the kill."""
    options = parser().parse_args()
    # Like Ctrl-C: the demo cleans up.
    signal.signal(signal.SIGTERM, interrupt)
    console = Console()
    if options.engine == "vllm":
        parser().error("engines are started by the launcher of a checkout: ./kvasir demo --engine vllm")
    try:
        requests = read_trace(options.requests, options.trace)
        options.state_dir.mkdir(parents=True, exist_ok=True)
        sizes = choose_sizes(requests, len(NODES) + 1, SHARED_MEMORY, options.state_dir)
        plan = Plan(
            home=home(),
            requests=requests,
            sizes=sizes,
            compute_tokens_per_s=options.compute_tokens_per_s,
            prefill_tokens_per_s=options.prefill_tokens_per_s,
            shared_memory=SHARED_MEMORY,
            state=options.state_dir,
        )
        scene = Scene(Tally(requests, sizes.object_bytes))
        live = console.is_terminal and not options.plain
        display: Display = LiveDisplay(console, scene) if live else PlainDisplay(console, scene)
        demo = Demo(plan, scene, display)
        with display:
            display.event(
                f"{len(NODES)} nodes, each with {sizes.dram_bytes >> 20} MiB of DRAM and {sizes.ssd_bytes >> 20} MiB "
                f"on SSD; {len(requests):,} requests, objects of {sizes.object_bytes >> 10} KiB"
            )
            summary = demo.run()
    except KeyboardInterrupt:
        console.print("interrupted; nothing is left behind", highlight=False)
        return 130
    except _COULD_NOT_RUN as error:
        console.print(f"the demo could not run: {error}", markup=False, highlight=False, soft_wrap=True)
        return 1
    table = summary_table(summary)
    console.print(table)
    if options.json:
        options.json.write_text(json.dumps(summary.as_json(), indent=2) + "\n", encoding="utf-8")
    if options.picture:
        save_picture(options.picture, "./kvasir demo", [*demo.frames, table])
    return _verdict(console, summary)


def _verdict(console: Console, summary: Summary) -> int:
    if summary.problems:
        counted = {problem: summary.problems.count(problem) for problem in sorted(set(summary.problems))}
        seen = ", ".join(f"{problem} {count}x" for problem, count in counted.items())
        console.print(f"calls that failed and were computed instead: {seen}", markup=False, highlight=False)
    console.print(f"bytes verified: {summary.bytes_verified}", highlight=False)
    console.print(f"objects lost: {summary.objects_lost}", highlight=False)
    console.print(f"wrong bytes: {summary.wrong_bytes}", highlight=False)
    for failure in summary.failures:
        console.print(f"FAILED: {failure}", highlight=False)
    return 1 if summary.failures else 0


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """A signal's handler: as if Ctrl-C had been typed."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
