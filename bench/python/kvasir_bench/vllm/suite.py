"""Starts the drivers in vLLM's environment, in turn with and without Kvasir, and makes records of their answers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kvasir_bench.context import Context
from kvasir_bench.engines.vllm_server import kvasir_transfer
from kvasir_bench.environments import CPU_ENGINE, VLLM_VERSIONS, EnvironmentUnavailableError, prepare, vllm
from kvasir_bench.node import MIB, Node
from kvasir_bench.records import Record, at_least, at_most, percentile, record
from kvasir_bench.vllm import beside_lmcache

DRIVER = Path(__file__).with_name("driver.py")
ANSWER_BOUND_S = 300
PROMPT_TOKENS = 2000
#: Small, so that a prompt is computed as fast as a CPU can: the comparison of times to the first token is a hard one.
MODEL = {"layers": 8, "hidden": 512}
#: The shape of SmolLM2-135M, the smallest Llama in wide use: of such models the one with the most KV for its computing.
SMALLEST = {"layers": 30, "hidden": 576, "heads": 9, "kv_heads": 3, "intermediate": 1536, "vocabulary": 49152}


class DriverError(Exception):
    """A driver ended without an answer; its log says why."""


class Driver:
    """One driver process, in a process group of its own."""

    def __init__(
        self,
        context: Context,
        python: Path,
        kind: str,
        given: dict[str, Any],
        log: Path,
        variables: dict[str, str] | None = None,
    ) -> None:
        home = context.home
        sources = ("client/src", "connector-vllm/src", "connector-vllm/tests", "ops/python", "bench/python")
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(CPU_ENGINE), *(str(home / source) for source in sources)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            **(variables or {}),
        }
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [str(python), str(DRIVER), kind, json.dumps(given)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
                start_new_session=True,
            )

    def answer(self) -> Any:
        """The next line."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            tail = self._log.read_text(errors="replace")[-2000:]
            raise DriverError(f"the driver ended without an answer; the end of its log:\n{tail}")
        return json.loads(line)

    def ask(self, **question: Any) -> Any:
        """One round of an engine."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        """Ends it and all it started."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def run(context: Context) -> Generator[Record, None, None]:
    """All measurements, with the oldest vLLM that is supported."""
    version = VLLM_VERSIONS[0]
    try:
        python = prepare(vllm(version), context.say)
    except EnvironmentUnavailableError as error:
        context.skip("vllm", str(error))
        return
    place = context.directory / "vllm"
    place.mkdir(parents=True)
    model = _model(context, python, place / "model", MODEL)
    with _node(context, place, 1024) as node:
        yield from context.part("vllm.scheduler", _scheduler, python, node, model, place, version)
        yield from context.part("vllm.bandwidth", _bandwidth, python, node, place, version)
        yield from context.part("vllm.first_token", _first_token, python, node, model, place, version)
        yield from context.part("vllm.lmcache", _lmcache, python, node, model, place, version)
    yield from context.part("vllm.no_reuse", _no_reuse, python, place, version)


def _model(context: Context, python: Path, model: Path, shape: dict[str, int]) -> Path:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; from tinymodel import write_model;"
        f"write_model(Path(sys.argv[2]), **{shape!r})"
    )
    subprocess.run([python, "-c", code, context.home / "connector-vllm" / "tests", model], check=True)
    return model


@contextmanager
def _node(context: Context, place: Path, mebibytes: int) -> Iterator[Node]:
    settings = {"dram": {"capacity": f"{mebibytes}MiB"}, "ssd": {"capacity": 0}}
    name = f"vllm-{mebibytes}"
    node = Node(context.home, place / name, context.shared_memory / name, settings)
    node.start()
    try:
        node.client().close()
        yield node
    finally:
        node.close()


def _once(context: Context, python: Path, kind: str, given: dict[str, Any], place: Path) -> Any:
    driver = Driver(context, python, kind, given, place / f"{kind}.log")
    try:
        return driver.answer()
    finally:
        driver.close()


def _scheduler(context: Context, python: Path, node: Node, model: Path, place: Path, version: str) -> Record:
    context.say("vllm: the connector's time in vLLM's scheduler")
    own: list[float] = []
    rest: list[float] = []
    steps: list[float] = []
    busy: list[float] = []
    hooks: dict[str, list[float]] = {}
    for _ in range(context.runs):
        given = {
            "model": str(model), "socket": node.socket, "requests": 40, "prompts": 10,
            "tokens": PROMPT_TOKENS,
        }  # fmt: skip
        found = _once(context, python, "scheduler", given, place)
        if found["loaded"] < found["wanted"] * 0.9:
            raise DriverError(f"{found['loaded']} of {found['wanted']} tokens were loaded")
        own.append(percentile(found["own_us"], 0.99))
        rest.append(percentile(found["rest_us"], 0.99))
        steps += found["own_us"]
        busy += found["own_cpu_us"]
        for name, times in found["hooks"].items():
            hooks.setdefault(name, []).extend(times["cpu"])
    return record(
        "vllm.scheduler.step",
        f"connector's own time in a step of vLLM's scheduler, p99, prompts of {PROMPT_TOKENS} tokens in DRAM",
        "us",
        own,
        "the rest of the same steps: vLLM's scheduler, and the harness that stands for its model runner, p99",
        rest,
        at_most(0.0, 300.0),
        steps=len(steps),
        p50=statistics.median(steps),
        largest=max(steps),
        # The thread's own work; the rest of the time it waited for the interpreter or for a processor.
        processor_p50=statistics.median(busy),
        processor_p99=percentile(busy, 0.99),
        processor_p99_of_hooks={name: round(percentile(times, 0.99), 1) for name, times in hooks.items() if times},
        vllm=version,
    )


def _bandwidth(context: Context, python: Path, node: Node, place: Path, version: str) -> Record:
    context.say("vllm: bandwidth of a load by a worker")
    found = _once(
        context, python, "bandwidth", {"socket": node.socket, "tokens": 16384, "runs": max(context.runs, 3)}, place
    )
    return record(
        "vllm.load.bandwidth",
        "load of a prompt of 16,384 tokens by a worker on CPU: resolve, copies, checks of the stamps",
        "GB/s",
        found["load"],
        "memcpy of the same pieces in the same run",
        found["memcpy"],
        at_least(0.85),
        bytes=found["bytes"],
        piece_bytes=found["piece_bytes"],
        vllm=version,
    )


_OPTIONS = {"kv_cache_memory_bytes": 256 * MIB, "block_size": 32}


def _engine(
    context: Context,
    python: Path,
    model: Path,
    transfer: dict[str, Any] | None,
    log: Path,
    options: dict[str, int] = _OPTIONS,
    variables: dict[str, str] | None = None,
) -> Driver:
    """An engine that serves rounds; its first answer says that it is there."""
    given = {"model": str(model), "kv": transfer, "options": options}
    return Driver(context, python, "engine", given, log, variables)


def _lmcache(
    context: Context, python: Path, node: Node, model: Path, place: Path, version: str
) -> Generator[Record, None, None]:
    # What one engine computes stays in its own pool as well: room for all rounds.
    options = _OPTIONS | {"kv_cache_memory_bytes": 1024 * MIB}

    def start(name: str, interpreter: Path, transfer: dict[str, Any], variables: dict[str, str]) -> Driver:
        return _engine(context, interpreter, model, transfer, place / f"{name}.log", options, variables)

    yield from beside_lmcache.measure(
        context, start, kvasir_transfer(node.socket), python, place, version, PROMPT_TOKENS
    )


def _no_reuse(context: Context, python: Path, place: Path, version: str) -> Record:
    """Fresh prompts, two engines in turn, each run with new ones: two engines without Kvasir differ by 3 % as well.

    Rounds that warm do not count: after them the arena is full and mapped, as on a node that has run for a minute.
    """
    busy: dict[str, list[float]] = {"plain": [], "kvasir": []}
    passed: dict[str, list[float]] = {"plain": [], "kvasir": []}
    requests, warming, counted = 4, 3, 3
    model = _model(context, python, place / "smallest", SMALLEST)
    with _node(context, place, 192) as node:
        for run in range(context.runs):
            drivers: dict[str, Driver] = {}
            try:
                for name, transfer in (("plain", None), ("kvasir", kvasir_transfer(node.socket))):
                    context.say(f"vllm: starting an engine ({name}), run {run + 1} of {context.runs}")
                    drivers[name] = _engine(context, python, model, transfer, place / f"no-reuse-{name}.log")
                    drivers[name].answer()
                for turn in range(warming + counted):
                    context.say(f"vllm: no reuse, round {turn + 1} of {warming + counted}")
                    for name in list(drivers) if turn % 2 else list(reversed(drivers)):
                        seeds = [f"fresh {context.seed} {run} {turn} {number}" for number in range(requests)]
                        found = drivers[name].ask(length=1000, seeds=seeds, generated=32)
                        if any(found["cached"]):
                            raise DriverError(f"{name}: prompts that should be new had {found['cached']} tokens cached")
                        if turn >= warming:
                            busy[name].append(found["busy"] / requests)
                            passed[name].append(requests / found["passed"])
            finally:
                for driver in drivers.values():
                    driver.close()
    return record(
        "vllm.no_reuse.processor",
        "processor seconds of the engine for a request without reuse, 1,000 tokens in and 32 out",
        "s",
        busy["kvasir"],
        "vLLM without a connector, in turn",
        busy["plain"],
        at_most(1.03),
        vllm=version,
        throughput_kvasir=statistics.median(passed["kvasir"]),
        throughput_plain=statistics.median(passed["plain"]),
        throughput_kvasir_range=[min(passed["kvasir"]), max(passed["kvasir"])],
        throughput_plain_range=[min(passed["plain"]), max(passed["plain"])],
    )


def _first_token(context: Context, python: Path, node: Node, model: Path, place: Path, version: str) -> Record:
    cold: list[float] = []
    warm: list[float] = []
    context.say("vllm: starting an engine")
    driver = _engine(context, python, model, kvasir_transfer(node.socket), place / "first-token.log")
    try:
        driver.answer()
        for turn in range(context.runs + 1):
            context.say(f"vllm: time to first token, round {turn} of {context.runs}")
            seeds = [f"first {context.seed} {turn} {number}" for number in range(3)]
            first = driver.ask(length=PROMPT_TOKENS, seeds=seeds, generated=1)
            again = driver.ask(length=PROMPT_TOKENS, seeds=seeds, generated=1)
            expected = PROMPT_TOKENS // 256 * 256
            if any(first["cached"]) or again["cached"] != [expected] * 3:
                raise DriverError(f"cold runs had {first['cached']} tokens cached, warm runs {again['cached']}")
            if turn:
                cold += [seconds * 1e3 for seconds in first["seconds"]]
                warm += [seconds * 1e3 for seconds in again["seconds"]]
    finally:
        driver.close()
    return record(
        "vllm.first_token",
        f"time to first token of a prompt of {PROMPT_TOKENS} tokens, loaded from DRAM",
        "ms",
        warm,
        "the same engine computing it",
        cold,
        at_most(1.0),
        vllm=version,
    )
