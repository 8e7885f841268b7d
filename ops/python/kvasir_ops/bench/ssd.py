"""The suite ``ssd``: runs the SSD tier's own benchmark (``io.kvasir.ops.bench.SsdBench``) and takes over its figures.

The Java program measures, for each run, the tier and the raw disk in turn in one process, and prints one JSON array;
goals and medians are made here, as for every other suite.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Generator

from kvasir_ops.bench.context import Context
from kvasir_ops.bench.node import java
from kvasir_ops.bench.records import Goal, Record, at_least, at_most, record

BOUND_S = 1800
GOALS: dict[str, Goal] = {
    "ssd.write.64k": at_least(0.7),
    "ssd.read.64k": at_least(0.7),
    "ssd.write.1m": at_least(0.85),
    "ssd.read.1m": at_least(0.85),
    "ssd.write.4m": at_least(0.85),
    "ssd.read.4m": at_least(0.85),
    "ssd.write_amplification": at_most(plus=1.05),
    "ssd.cpu_per_gib": at_most(plus=0.3),
}


def run(context: Context) -> Generator[Record, None, None]:
    """One JVM for all figures; its progress lines go where ours go."""
    place = context.directory / "ssd"
    place.mkdir()
    command = java(context.home, "io.kvasir.ops.bench.SsdBench", "--directory", str(place))
    command += ["--runs", str(context.runs), "--seed", str(context.seed)]
    context.say("ssd: raw disk and tier in turn, a few minutes")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            output, _ = process.communicate(timeout=BOUND_S)
        finally:
            if process.poll() is None:
                process.kill()
    if process.returncode != 0:
        raise RuntimeError(f"SsdBench ended with status {process.returncode}")
    figures = {entry["id"]: entry for entry in json.loads(output)}
    missing = GOALS.keys() - figures.keys()
    if missing:
        raise RuntimeError(f"SsdBench gave no {', '.join(sorted(missing))}")
    for id, goal in GOALS.items():
        entry = figures[id]
        yield record(
            id,
            entry["name"],
            entry["unit"],
            entry["values"],
            entry["reference"],
            entry["reference_values"],
            goal,
            **entry.get("extra", {}),
        )
