"""Time to first token beside vLLM with LMCache: its connector for a server in another process, which works on CPU.

A prompt goes to one engine, and then to a second one that has never seen it: both systems serve it from this machine's
DRAM. (LMCache's connector inside the engine refuses CPUs, and with the other one vLLM cannot empty its own prefix cache
between two rounds, so one engine alone would not do.)
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kvasir_bench.context import Context
from kvasir_bench.environments import Environment, EnvironmentUnavailableError, prepare, vllm
from kvasir_bench.peers.drivers import lmcache_server
from kvasir_bench.peers.drivers.protocol import free_port, wait_until
from kvasir_bench.peers.environments import LMCACHE, PeerUnavailableError
from kvasir_bench.peers.environments import prepare as prepare_peer
from kvasir_bench.records import Record, at_most, record

CHUNK_TOKENS = 256
PROMPTS = 3
START_S = 180.0
#: LMCache hashes with Python's own hash, which has to be the same in all processes.
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "LMCACHE_TRACK_USAGE": "false", "LMCACHE_DISABLE_BANNER": "1"}


class Asked(Protocol):
    """An engine of the suite."""

    def answer(self) -> Any:
        """The next line."""

    def ask(self, **question: Any) -> Any:
        """One round."""

    def close(self) -> None:
        """Ends it."""


Start = Callable[[str, Path, dict[str, Any], dict[str, str]], Asked]
"""Starts an engine: name, its Python, ``kv_transfer_config``, further variables of its environment."""


@dataclass(frozen=True)
class _Pair:
    """Two engines that share what they computed."""

    stores: Asked
    loads: Asked

    def first_tokens(self, length: int, seeds: list[str]) -> list[float]:
        """Milliseconds to the first token in the second engine, of prompts that only the first one has computed."""
        first = self.stores.ask(length=length, seeds=seeds, generated=1, forget=False)
        # One more step: a store is begun, or its end is noticed, in the step after.
        self.stores.ask(length=8, seeds=[f"{seeds[0]} step"], generated=2, forget=False)
        second = self.loads.ask(length=length, seeds=seeds, generated=1, forget=False)
        wanted = length // CHUNK_TOKENS * CHUNK_TOKENS
        if any(first["cached"]) or any(cached < wanted for cached in second["cached"]):
            raise RuntimeError(
                f"the first engine had {first['cached']} tokens cached, the second {second['cached']} of {wanted}"
            )
        return [seconds * 1e3 for seconds in second["seconds"]]


def measure(
    context: Context, start: Start, kvasir: dict[str, Any], python: Path, place: Path, version: str, length: int
) -> Generator[Record, None, None]:
    """The record; none, and a reason, where LMCache cannot be had."""
    own = Environment(
        f"vllm-{version}-lmcache", "vLLM with LMCache", (("--no-deps", *LMCACHE.requirements),), "0.3 GB", vllm(version)
    )
    try:
        server_python, engine_python = prepare_peer(LMCACHE, False, context.say), prepare(own, context.say)
    except (PeerUnavailableError, EnvironmentUnavailableError) as error:
        context.skip("vllm.first_token.lmcache", str(error))
        return
    with _server(server_python, place) as port, ExitStack() as stack:
        lmcache = {
            "kv_connector": "LMCacheMPConnector",
            "kv_role": "kv_both",
            "kv_connector_extra_config": {"lmcache.mp.host": "tcp://127.0.0.1", "lmcache.mp.port": port},
        }

        def pair(name: str, interpreter: Path, transfer: dict[str, Any], variables: dict[str, str]) -> _Pair:
            engines = []
            for part in ("a", "b"):
                context.say(f"vllm: starting an engine ({name} {part})")
                engine = start(f"{name}-{part}", interpreter, transfer, variables)
                stack.callback(engine.close)
                engine.answer()
                engines.append(engine)
            return _Pair(*engines)

        pairs = {
            "kvasir": pair("beside-kvasir", python, kvasir, {}),
            "lmcache": pair("beside-lmcache", engine_python, lmcache, _ENVIRONMENT),
        }
        seconds: dict[str, list[float]] = {name: [] for name in pairs}
        for turn in range(context.runs + 1):
            context.say(f"vllm: time to first token beside LMCache, round {turn} of {context.runs}")
            for name in list(pairs) if turn % 2 else list(reversed(pairs)):
                seeds = [f"beside {context.seed} {turn} {number}" for number in range(PROMPTS)]
                found = pairs[name].first_tokens(length, seeds)
                if turn:
                    seconds[name] += found
    yield record(
        "vllm.first_token.lmcache",
        f"time to first token of a prompt of {length} tokens that another engine of this machine has computed",
        "ms",
        seconds["kvasir"],
        f"the same with LMCache {LMCACHE.version} (LMCacheMPConnector, its server on this machine), in turn",
        seconds["lmcache"],
        at_most(1.0),
        vllm=version,
    )


@contextmanager
def _server(python: Path, place: Path) -> Iterator[int]:
    """LMCache's server on its engine-driven path over shared memory; its port."""
    port, http = free_port(), free_port()
    command = lmcache_server.command(python, port, http, CHUNK_TOKENS, 1, f"kvasir_bench_vllm_{os.getpid()}")
    environment = os.environ | _ENVIRONMENT | {"HF_HUB_OFFLINE": "1", "LMCACHE_LOG_LEVEL": "ERROR"}

    def healthy() -> bool:
        if server.poll() is not None:
            raise RuntimeError(f"LMCache's server ended with {server.returncode}; see {place / 'lmcache.log'}")
        return lmcache_server.answers(http)

    with (place / "lmcache.log").open("wb") as log:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )
    try:
        wait_until(healthy, "LMCache's server", START_S)
        yield port
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.terminate()
            server.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        for left in Path("/dev/shm").glob(f"*kvasir_bench_vllm_{os.getpid()}*"):
            left.unlink()
