"""The suite ``sglang``: starts what is measured, and makes records of what the driver found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Generator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

from kvasir_bench import java_bench
from kvasir_bench.context import Context
from kvasir_bench.control import SPIN_US
from kvasir_bench.environments import SGLANG_VERSION, Environment, EnvironmentUnavailableError, prepare, sglang
from kvasir_bench.node import Helper, Node
from kvasir_bench.peers.environments import MOONCAKE, PeerUnavailableError, require_system
from kvasir_bench.records import Record, at_least, at_most, record

DRIVER = Path(__file__).with_name("driver.py")
BOUND_S = 900.0
DRAM_MIB = 1024

SIZES = {"1m": ("1 MiB", 0.85), "64k": ("64 KiB", 0.7)}
PEERS = {
    "file": f"SGLang {SGLANG_VERSION}'s `file` backend, its files in the page cache",
    "mooncake": f"{MOONCAKE.title} {MOONCAKE.version} over TCP, by SGLang's own `mooncake` backend",
}
ECHO = "echo of 64 bytes, Python to Java over a Unix socket, the same way of waiting, p50"
MEMCPY = "memcpy of the same runs of bytes between the same mapping and the same host pool, one thread"

Samples = dict[str, list[float]]
"""For each system the median seconds of a call, one for each run."""


class DriverError(Exception):
    """The driver ended before it was done; its log says why."""


def run(context: Context) -> Generator[Record, None, None]:
    """Measures everything in one process of SGLang's, and yields the records."""
    python, mooncake = _environment(context)
    programs = java_bench.prepare(context.home, context.say)
    node = Node(
        context.home,
        context.directory / "sglang",
        context.shared_memory / "sglang",
        {"engine": {"spin": f"{SPIN_US}us"}, "dram": {"capacity": f"{DRAM_MIB}MiB"}, "ssd": {"capacity": 0}},
    )
    with ExitStack() as stack:
        stack.enter_context(closing(node))
        node.start()
        node.client(deadline=10.0).close()
        echo = str(context.directory / "echo-sglang.sock")
        stack.enter_context(
            closing(Helper(programs.like_a_node("io.kvasir.bench.suite.EchoServer", echo, str(SPIN_US))))
        )
        settings = {
            "socket": node.socket,
            "echo": echo,
            "directory": str(context.directory),
            "runs": context.runs,
            "seed": context.seed,
            "mooncake": mooncake,
        }
        found = _drive(context, python, settings)
    yield from _records(found)


def _environment(context: Context) -> tuple[Path, bool]:
    """SGLang's Python, with Mooncake beside it where this machine can run that."""
    plain = sglang(SGLANG_VERSION)
    try:
        require_system(MOONCAKE, context.install_system, context.say)
        steps = (("--no-deps", MOONCAKE.requirements[0]),)
        both = Environment("sglang-mooncake", "SGLang with Mooncake", steps, "0.2 GB", plain)
        return prepare(both, context.say), True
    except (PeerUnavailableError, EnvironmentUnavailableError) as error:
        context.skip("sglang.mooncake", f"{MOONCAKE.title} is left out: {error}")
        return prepare(plain, context.say), False


def _drive(context: Context, python: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Runs the driver to its end, passes on what it says, and returns its findings."""
    sources = [context.home / source for source in ("client/src", "connector-sglang/src", "ops/python", "bench/python")]
    log = context.directory / "sglang-driver.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [os.fspath(python), os.fspath(DRIVER), json.dumps(settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(os.fspath, sources)), "PYTHONDONTWRITEBYTECODE": "1"},
            start_new_session=True,
        )

    def end() -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    watchdog = threading.Timer(BOUND_S, end)  # the whole run takes a few minutes
    watchdog.start()
    found: dict[str, Any] = {}
    try:
        assert process.stdout is not None
        for line in process.stdout:
            message = json.loads(line)
            if "say" in message:
                context.say(message["say"])
            else:
                found |= message
    finally:
        watchdog.cancel()
        end()
        process.wait()
    if "done" not in found:
        tail = log.read_text(errors="replace").strip()[-1500:]
        raise DriverError(f"SGLang's driver ended early, or was stopped after {BOUND_S:g} s: {tail}")
    return found


def _records(found: dict[str, Any]) -> Generator[Record, None, None]:
    pages = found["pages"]
    for size, (words, share) in SIZES.items():
        for call, goal in (("get", at_least(share)), ("set", None)):
            samples: Samples = found[f"{call}.{size}"]
            rates = {
                name: [found["bytes"][size] * pages / each / 1e9 for each in runs] for name, runs in samples.items()
            }
            asked = ", asked for before as SGLang does" if call == "get" else ", into full DRAM"
            name = f"batch_{call}_v1 of {pages} pages of {words}{asked}"
            if goal is not None:
                yield record(f"sglang.{call}.{size}", name, "GB/s", rates["kvasir"], MEMCPY, rates["memcpy"], goal)
            for peer, title in PEERS.items():
                if peer in rates:
                    yield record(
                        f"sglang.{call}.{size}.{peer}",
                        f"{name}, beside {peer}",
                        "GB/s",
                        rates["kvasir"],
                        f"{title}, the same pages between it and the host pool",
                        rates[peer],
                        at_least(2),
                    )
    asked_us = {name: [each * 1e6 for each in runs] for name, runs in found["exists"].items()}
    name = f"batch_exists of {found['asked']} pages, all there, p50"
    yield record("sglang.exists.512", name, "us", asked_us["kvasir"], ECHO, asked_us["echo"], at_most(1, plus=200))
    for peer, title in PEERS.items():
        if peer in asked_us:
            yield record(
                f"sglang.exists.512.{peer}", f"{name}, beside {peer}", "us", asked_us["kvasir"], title, asked_us[peer],
                at_most(1 / 2),
            )  # fmt: skip
