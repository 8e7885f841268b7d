"""The command ``kvasir bench``: picks suites, runs them, writes JSON, prints the table, renders the page."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import random
import shlex
import signal
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from kvasir_ops import home
from rich.console import Console

from kvasir_bench import (
    cluster,
    control,
    engine,
    machine,
    many_objects,
    memory,
    micro,
    report,
    restart,
    space,
    ssd,
)
from kvasir_bench.context import Context, temporary_places
from kvasir_bench.hostile import suite as hostile
from kvasir_bench.peers import suite as peers
from kvasir_bench.records import Record
from kvasir_bench.sglang import suite as sglang
from kvasir_bench.vllm import suite as vllm

SUITES: dict[str, Callable[[Context], Generator[Record, None, None]]] = {
    "engine": engine.run,
    "control": control.run,
    "ssd": ssd.run,
    "restart": restart.run,
    "memory": memory.run,
    "space": space.run,
    "hostile": hostile.run,
    "cluster": cluster.run,
    "peers": peers.run,
    "vllm": vllm.run,
    "sglang": sglang.run,
    "micro": micro.run,
    "objects": many_objects.run,
}
# Of parts of a node, for those who change them; not run unless they are named.
NAMED_ONLY = ("micro", "objects")

PLAIN_WIDTH = 140
EXIT_COULD_NOT_RUN = 1
EXIT_GOAL_MISSED = 3


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = argparse.ArgumentParser(
        prog="kvasir bench",
        description="Measures Kvasir against the limits of this machine, and against other KV stores.",
        epilog="Exit status: 0 when everything ran, whether goals are met or not; 1 when something could not run; "
        "3 with --check when a goal was missed, and without it when something happened that never may (`hostile`).",
    )
    result.add_argument(
        "suites",
        nargs="*",
        metavar="SUITE",
        help=f"{', '.join(SUITES)} (when none is named: all but {' and '.join(NAMED_ONLY)})",
    )
    result.add_argument("--json", type=Path, metavar="FILE", help="write the records as a JSON array")
    result.add_argument("--runs", type=int, default=5, metavar="N", help="measure everything N times, take medians (5)")
    result.add_argument("--kills", type=int, default=20, metavar="N", help="how often `restart` kills the node (20)")
    result.add_argument(
        "--histories", type=int, default=100, metavar="N", help="histories of sizes and tenants of `space` (100)"
    )
    result.add_argument(
        "--resume",
        type=Path,
        metavar="FILE",
        help="keep each kill of `restart` in FILE, and go on with the kills that are in it until there are --kills; "
        "the records are over all of them",
    )
    result.add_argument(
        "--seconds",
        type=float,
        default=60.0,
        metavar="S",
        help="how long `hostile` attacks a node; its control takes as long again (60)",
    )
    result.add_argument(
        "--strategy",
        action="append",
        default=[],
        metavar="NAME",
        help="of `hostile`, only this one; may be given again",
    )
    result.add_argument(
        "--no-control",
        dest="control",
        action="store_false",
        help="of `hostile`, what must hold alone, and no times: half as long",
    )
    result.add_argument(
        "--objects",
        type=int,
        default=10_000_000,
        metavar="N",
        help="how many objects `objects` puts on the SSD, without their bytes (10,000,000: 2 GB of RocksDB)",
    )
    result.add_argument("--seed", type=int, metavar="N", help="of everything random (drawn anew, and printed)")
    result.add_argument("--check", action="store_true", help="a goal that is not met is an error")
    result.add_argument("--directory", type=Path, metavar="DIR", help="where data on disk goes, removed at the end")
    result.add_argument("--install-system", action="store_true", help="let `peers` install system packages (apt-get)")
    result.add_argument("--plot", type=Path, metavar="FILE", help="draw the records of `peers` (svg or png)")
    result.add_argument(
        "--render", type=Path, metavar="PAGE", help="write this page, from the records of this run or from --from"
    )
    result.add_argument(
        "--from",
        dest="sources",
        type=Path,
        action="append",
        metavar="FILE",
        help="JSON for --render and --plot; runs nothing",
    )
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit status is its value."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    args = parser().parse_args(given)
    unknown = [name for name in args.suites if name not in SUITES]
    if unknown:
        parser().error(f"no suite {', '.join(unknown)}; there are: {', '.join(SUITES)}")
    if args.resume and args.suites and "restart" not in args.suites:
        parser().error("--resume keeps the kills of `restart`, which is not among the suites")
    if args.objects <= many_objects.FEW:
        parser().error(f"--objects must be more than {many_objects.FEW}, with which they are compared")
    if args.runs < 1 or args.kills < 1 or args.seconds < 1 or args.histories < 1:
        parser().error("--runs, --kills, --seconds and --histories must be at least 1")
    # A notice on standard error for whoever waits; results on standard output.
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    notices = Console(stderr=True, highlight=False, soft_wrap=True)
    if args.sources:
        return _publish(args, [json.loads(source.read_text()) for source in args.sources], console)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        records, failed, broken = _run(args, given, notices)
    except KeyboardInterrupt:
        notices.print("kvasir bench: interrupted")
        return 130
    document = [item.to_json() for item in records]
    if args.json:
        args.json.write_text(json.dumps(document, indent=2) + "\n")
    report.show(console, records)
    status = _publish(args, [document], console) if records else EXIT_COULD_NOT_RUN
    for what, why in failed.items():
        notices.print(f"[bold red]{what} could not run[/]: {why}")
    for what, why in broken.items():
        notices.print(f"[bold red]{what} does not hold[/]: {why}")
    if failed or status:
        return EXIT_COULD_NOT_RUN
    missed = args.check and not all(item.met for item in records if item.goal is not None)
    return EXIT_GOAL_MISSED if broken or missed else 0


def _run(
    args: argparse.Namespace, given: Sequence[str], notices: Console
) -> tuple[list[Record], dict[str, str], dict[str, str]]:
    seed = random.SystemRandom().randrange(1 << 32) if args.seed is None else args.seed
    records: list[Record] = []
    failed: dict[str, str] = {}
    begin = time.monotonic()

    def say(text: str) -> None:
        notices.print(f"[dim]{time.monotonic() - begin:7.1f} s[/]  {text}")

    say(f"seed {seed}")
    with temporary_places(args.directory) as (directory, shared_memory):
        context = Context(
            home=home(),
            runs=args.runs,
            seed=seed,
            kills=args.kills,
            histories=args.histories,
            resume=args.resume,
            install_system=args.install_system,
            directory=directory,
            shared_memory=shared_memory,
            say=say,
            seconds=args.seconds,
            strategies=tuple(args.strategy),
            control=args.control,
            objects=args.objects,
        )
        about = {
            "machine": machine.describe(directory),
            "command": shlex.join(["kvasir", "bench", *given]),
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "seed": seed,
        }
        for name in args.suites or (name for name in SUITES if name not in NAMED_ONLY):
            say(f"[bold]{name}[/]")
            meter = machine.BusyMeter()
            produced: list[Record] = []
            suite = SUITES[name](context)
            try:
                produced.extend(suite)
            except Exception as error:  # one suite that cannot run does not take the others with it
                failed[name] = f"{type(error).__name__}: {error}"
                say(f"{name} failed: {failed[name]}")
            finally:
                suite.close()  # ends what it started before the directories go, also after Ctrl-C
            busy = round(meter.cores(), 2)
            records += [_with(item, about | {"cores_busy": busy}) for item in produced]
        failed |= context.skipped
    return records, failed, context.broken


def _with(item: Record, extra: dict[str, Any]) -> Record:
    return dataclasses.replace(item, extra=dict(item.extra) | extra)


def _publish(args: argparse.Namespace, documents: Sequence[Any], console: Console) -> int:
    if args.render:
        args.render.write_text(report.render(documents, args.render))
        console.print(f"wrote {args.render}")
    if args.plot:
        peers.plot([Record.from_json(entry) for document in documents for entry in document], args.plot)
        console.print(f"wrote {args.plot}")
    return 0


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
