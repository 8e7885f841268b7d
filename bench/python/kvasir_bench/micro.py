"""The suite ``micro``: single parts of the store by JMH, nanoseconds and bytes of heap for each key.

Short runs, to see a change of the code by what it costs: figures of two checkouts are compared when they are measured
by turns on an idle machine. There are no goals.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kvasir_bench.context import Context
from kvasir_bench.java_bench import prepare
from kvasir_bench.records import Record, record

BOUND_S = 900
PACKAGE = "io.kvasir.bench"
# As a node has them, but for the size: keys of 65,536 objects are on the heap.
HEAP = ("-Xms640m", "-Xmx640m", "-XX:+UseSerialGC")
SLOT_RECORD_BYTES = 32
LIMIT = "ProbeBenchmark.memory"
LIMIT_NAME = "a read of memory in random order, 64 MiB, each dependent on the one before"
ALLOCATED = "gc.alloc.rate.norm"


@dataclass(frozen=True)
class Figure:
    """One benchmark of the folder ``bench``.

    ``answer_bytes``: what the result of one operation has of its own on the heap.
    """

    id: str
    benchmark: str
    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    answer_bytes: int = 0


FIGURES = (
    Figure("micro.probe.hit", "ProbeBenchmark.hit", "whether an object is there: it is, of 65,536 in random order"),
    Figure("micro.probe.miss", "ProbeBenchmark.miss", "whether an object is there: it is not"),
    *(
        Figure(
            f"micro.{verb}.512x{shards}",
            f"LookupBenchmark.{verb}",
            f"{what} of 512 keys, {shards} shard{'s' * (shards > 1)} each; for a key",
            {"shards": str(shards)},
            SLOT_RECORD_BYTES * shards,
        )
        for verb, what in (("plan", "lookup (peek)"), ("lease", "lookup with a lease, and its release"))
        for shards in (1, 8)
    ),
    Figure(
        "micro.store.evict",
        "StoreBenchmark.reserveAndCommit",
        "reserve and commit of 64 objects where DRAM is full; for an object",
        answer_bytes=SLOT_RECORD_BYTES,
    ),
    Figure(
        "micro.store.abort",
        "StoreBenchmark.reserveAndAbort",
        "reserve and abort of 64 objects where slots are free; for an object",
        answer_bytes=SLOT_RECORD_BYTES,
    ),
    *(
        Figure(f"micro.victim.{verdict.lower()}", "VictimBenchmark.victim", name, {"verdict": verdict})
        for verdict, name in (
            ("BEST", "search of a victim among 65,536, the first that may go"),
            ("FITS", "search of a victim among 65,536, after 64 were weighed"),
        )
    ),
)


def run(context: Context) -> Generator[Record, None, None]:
    """One JVM for each benchmark, one after the other."""
    programs = prepare(context.home, context.say)
    output = context.directory / "jmh.json"
    log = context.directory / "jmh.log"
    context.say(f"micro: {len(FIGURES) + 1} benchmarks, about six seconds each")
    command = programs.command(
        "org.openjdk.jmh.Main",
        PACKAGE,
        *("-f", "1", "-wi", "3", "-w", "500ms", "-i", str(max(2, context.runs)), "-r", "500ms"),
        *("-prof", "gc", "-rf", "json", "-rff", str(output), "-foe", "true"),
        flags=HEAP,
    )
    with (
        log.open("wb") as file,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        ) as process,
    ):
        try:
            process.wait(BOUND_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        raise RuntimeError(f"JMH ended with status {process.returncode}:\n{_end_of(log)}")
    yield from records(json.loads(output.read_text()))


def records(results: list[dict[str, Any]]) -> Generator[Record, None, None]:
    """The records of JMH's JSON."""
    by_name = {(result["benchmark"].removeprefix(f"{PACKAGE}."), _parameters(result)): result for result in results}
    limit = _values(by_name[LIMIT, ()]["primaryMetric"])
    for figure in FIGURES:
        result = by_name[figure.benchmark, tuple(sorted(figure.parameters.items()))]
        yield record(
            figure.id, figure.name, "ns", _values(result["primaryMetric"]), LIMIT_NAME, limit, None, **figure.parameters
        )
        allocated = next(metric for name, metric in result["secondaryMetrics"].items() if name.endswith(ALLOCATED))
        yield record(
            f"{figure.id}.alloc",
            f"heap allocated: {figure.name}",
            "bytes",
            _values(allocated),
            "the slot records of the answer" if figure.answer_bytes else None,
            [float(figure.answer_bytes)] if figure.answer_bytes else [],
            None,
            **figure.parameters,
        )


def _parameters(result: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(result.get("params", {}).items()))


def _values(metric: Mapping[str, Any]) -> list[float]:
    return [float(value) for fork in metric["rawData"] for value in fork]


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
