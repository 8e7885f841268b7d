"""The suite ``ssd``: runs the SSD tier's own benchmark (``io.kvasir.bench.suite.SsdBench``) and takes over its figures.

The Java program measures the tier and the raw disk in turn in one process, and gives the medians of both; whether they
meet the goals is decided here, as for every other suite.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Generator

from kvasir_bench.context import Context
from kvasir_bench.java_bench import prepare
from kvasir_bench.records import FIELDS, Goal, Record, at_least, at_most

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
    programs = prepare(context.home, context.say)
    place = context.directory / "ssd"
    place.mkdir()
    output = context.directory / "ssd.json"
    command = programs.like_a_node("io.kvasir.bench.suite.SsdBench", "--dir", str(place), "--json", str(output))
    context.say("ssd: raw disk and tier in turn, a few minutes")
    with subprocess.Popen(
        [*command, "--runs", str(context.runs)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        try:
            process.wait(BOUND_S)
        finally:
            if process.poll() is None:
                process.kill()
    if process.returncode != 0:
        raise RuntimeError(f"SsdBench ended with status {process.returncode}")
    figures = {entry["id"]: entry for entry in json.loads(output.read_text())}
    missing = GOALS.keys() - figures.keys()
    if missing:
        raise RuntimeError(f"SsdBench gave no {', '.join(sorted(missing))}")
    for id, goal in GOALS.items():
        entry = figures[id]
        yield Record(
            id,
            "ssd",
            entry["name"],
            entry["value"],
            entry["unit"],
            entry["reference"],
            entry["reference_value"],
            goal,
            {key: value for key, value in entry.items() if key not in FIELDS} | {"runs": context.runs},
        )
