"""Runs parts, each in a process of its own, and says what became of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO

from rich.console import Console

from kvasir_bench.build_lock import build_lock
from kvasir_bench.checks.parts import Part
from kvasir_bench.checks.reports import Counts, read_counts

AT_ONCE = 2
_LOOK_S = 0.2


@dataclass(frozen=True)
class Outcome:
    """What became of one part."""

    part: Part
    counts: Counts
    seconds: float
    note: str = ""

    @property
    def word(self) -> str:
        """The part's state in one word."""
        if self.counts.failed:
            return "FAILED"
        return "passed" if self.counts.passed else "skipped"


def run_parts(parts: Sequence[Part], root: Path, console: Console) -> list[Outcome]:
    """Runs all parts in their order, two at a time where both may share the machine. The output of all is shown."""
    outcomes: list[Outcome] = []
    for shares, alike in groupby(parts, key=lambda part: part.shares_machine):
        together = list(alike)
        outcomes += _by_two(together, root, console) if shares else [_alone(part, root, console) for part in together]
    return outcomes


def _alone(part: Part, root: Path, console: Console) -> Outcome:
    console.rule(part.name, align="left")
    sys.stdout.flush()
    return _told(run_part(part, root), console)


def _by_two(parts: Sequence[Part], root: Path, console: Console) -> list[Outcome]:
    names = ", ".join(part.name for part in parts)
    console.rule(f"{names}: {AT_ONCE} at a time, each shown when it has ended", align="left")
    sys.stdout.flush()
    stop = threading.Event()
    found: dict[str, Outcome] = {}

    def run(part: Part, output: Path) -> Outcome:
        with output.open("wb") as file:
            return run_part(part, root, file, stop)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        logs = root / ".kvasir" / "reports"
        outputs = {part.name: logs / f"part-{number}.log" for number, part in enumerate(parts)}
        running = [threads.submit(run, part, outputs[part.name]) for part in parts]
        try:
            for ended in as_completed(running):
                outcome = ended.result()
                found[outcome.part.name] = outcome
                console.rule(outcome.part.name, align="left")
                sys.stdout.write(outputs[outcome.part.name].read_text(encoding="utf-8", errors="replace"))
                _told(outcome, console)
        finally:
            # Also when it is interrupted: what runs is ended, what waits is not begun.
            stop.set()
            for part_running in running:
                part_running.cancel()
    return [found[part.name] for part in parts]


def _told(outcome: Outcome, console: Console) -> Outcome:
    if outcome.word == "skipped":
        console.print(f"skipped: {outcome.note or 'every test of it was skipped'}", markup=False)
    sys.stdout.flush()
    return outcome


def run_part(part: Part, root: Path, output: IO[bytes] | None = None, stop: threading.Event | None = None) -> Outcome:
    """Runs one part to its end or its bound.

    Args:
        part: what to run.
        root: the checkout.
        output: where its output goes; None: where ours goes.
        stop: ends it early.
    """
    obstacle = part.unavailable or part.obstacle()
    if obstacle:
        return Outcome(part, Counts(skipped=1), 0, obstacle)
    for stale in part.reports():
        stale.unlink()
    started = time.monotonic()
    with build_lock(root) if part.holds_build_lock else nullcontext():
        status = _run(part, output, stop or threading.Event())
    seconds = time.monotonic() - started
    counts = read_counts(part.reports()) if part.has_tests else Counts(passed=1) if status == 0 else Counts(failed=1)
    note = "" if status == 0 else "ran past its time" if status is None else f"exit status {status}"
    if status != 0 and counts.failed == 0:
        counts += Counts(failed=1)
    elif part.has_tests and counts.total == 0:
        counts, note = Counts(failed=1), "no test ran"
    return Outcome(part, counts, seconds, note)


def _run(part: Part, output: IO[bytes] | None, stop: threading.Event) -> int | None:
    """Exit status, or None when the bound was reached. The command and all it started are gone afterwards."""
    process = subprocess.Popen(
        part.command,
        cwd=part.cwd,
        env={**os.environ, **part.environment},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output and subprocess.STDOUT,
        start_new_session=True,
    )
    bound = time.monotonic() + part.bound_s
    try:
        while not stop.is_set():
            with suppress(subprocess.TimeoutExpired):
                return process.wait(_LOOK_S)
            if time.monotonic() > bound:
                break
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
