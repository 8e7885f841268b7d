"""``./kvasir demo --engine vllm``: a conversation moves between two vLLM servers, and its KV between their nodes."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from kvasir import KvasirError
from kvasir_ops import home
from kvasir_ops.demo.__main__ import SHARED_MEMORY, interrupt, parser
from kvasir_ops.lab.nodes import Nodes, NodeSettings
from kvasir_ops.lab.pool import PoolProbe
from kvasir_ops.node_process import NodeFailedError, temporary_places
from kvasir_ops.tables import table_of
from rich.console import Console
from rich.table import Table

from kvasir_bench.engines.tiny_model import VOCABULARY
from kvasir_bench.engines.vllm_server import SERVER_BYTES, Reply, ServerFailedError, VllmServer, kvasir_transfer
from kvasir_bench.environments import VLLM_VERSIONS, EnvironmentUnavailableError, prepare, vllm

NODES = ("node-a", "node-b")
"""One beside each server."""
TURNS = 4
FIRST_PROMPT_TOKENS = 1800
TURN_TOKENS = 500
ANSWER_TOKENS = 24
_NODE_BYTES = 256 << 20
_SPARE_BYTES = 1 << 30
_NODES_START_S = 120.0
_PROBE_BYTES = 64 << 10
_LOADED = "vllm:external_prefix_cache_hits_total"


class CannotRunError(Exception):
    """The demo cannot run here; the message says why."""


@dataclass(frozen=True)
class Turn:
    """One turn of the conversation.

    Attributes:
        number: from 1.
        server: which one answered, from 0.
        prompt_tokens: of the whole conversation so far.
        loaded_tokens: that came from the nodes instead of being computed.
        own_tokens: that the server still had itself.
        cold_s, warm_s: time to the first token when the prompt is computed, and with Kvasir.
        same: both gave the same answer.
    """

    number: int
    server: int
    prompt_tokens: int
    loaded_tokens: int
    own_tokens: int
    cold_s: float
    warm_s: float
    same: bool


def free_memory() -> int:
    """Bytes that programs can still get."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 0


class VllmDemo:
    """One run. What it starts is gone when :meth:`run` returns or raises; the environment stays, for the next run."""

    def __init__(self, home: Path, shared_memory: Path, state: Path, say: Callable[[str], None]) -> None:
        self._home = home
        self._shared_memory = shared_memory
        self._state = state
        self._say = say

    def run(self) -> list[Turn]:
        """The turns.

        Raises:
            CannotRunError: it cannot run here, and why.
            ServerFailedError: a server ended or did not answer.
        """
        needed = len(NODES) * (SERVER_BYTES + _NODE_BYTES) + _SPARE_BYTES
        if free_memory() < needed:
            raise CannotRunError(
                f"two vLLM servers and two nodes take {needed / 2**30:.1f} GiB of memory; "
                f"{free_memory() / 2**30:.1f} GiB are free. `./kvasir demo` without --engine needs far less"
            )
        python = self._environment()
        with ExitStack() as stack:
            places = stack.enter_context(temporary_places(self._shared_memory, self._state, "kvasir-demo-"))
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kvasir-demo-vllm-")))
            told = NodeSettings(_NODE_BYTES, 0)
            nodes = stack.enter_context(Nodes(self._home, NODES, told, places.shared_memory, places.state))
            nodes.start(*NODES)
            model = work / "model"
            self._write_model(python, model)
            self._wait_for_nodes(nodes)
            self._say(
                f"two nodes with {_NODE_BYTES >> 20} MiB of DRAM each are one cache; starting two vLLM servers ..."
            )
            servers = []
            for name in NODES:
                log = self._state / f"demo-vllm-{name}.log"
                log.unlink(missing_ok=True)
                # Two servers and two nodes share what may be two processors: what is not loaded in time is computed.
                transfer = kvasir_transfer(nodes.socket(name), lookup_timeout=5.0)
                # In bfloat16 the same prompt, computed in other pieces, can give another word, with or without Kvasir.
                exact = ("--dtype", "float32")
                servers.append(stack.enter_context(VllmServer(self._home, python, model, log, transfer, *exact)))
                servers[-1].start()
            begun = time.monotonic()
            for server in servers:
                server.wait_ready(self._say)
            self._say(f"both servers answer after {time.monotonic() - begun:.0f} s")
            return self._converse(servers)

    def _environment(self) -> Path:
        try:
            return prepare(vllm(VLLM_VERSIONS[0]), self._say)
        except EnvironmentUnavailableError as error:
            raise CannotRunError(f"vLLM could not be installed: {error}") from error

    def _write_model(self, python: Path, place: Path) -> None:
        script = Path(__file__).with_name("tiny_model.py")
        wrote = subprocess.run([python, script, place], capture_output=True, text=True, timeout=120)
        if wrote.returncode != 0:
            raise CannotRunError(f"the model could not be written: {wrote.stderr.strip()[-500:]}")

    @staticmethod
    def _wait_for_nodes(nodes: Nodes) -> None:
        with PoolProbe({name: nodes.socket(name) for name in NODES}, _PROBE_BYTES) as pool:
            if pool.seconds_until_one(_NODES_START_S) is None:
                nodes.check()
                raise CannotRunError(f"the nodes were no cache in common within {_NODES_START_S:.0f} s")

    def _converse(self, servers: Sequence[VllmServer]) -> list[Turn]:
        chosen = random.Random(7)

        def words(count: int) -> list[int]:
            return [chosen.randrange(3, VOCABULARY) for _ in range(count)]

        for server in servers:
            # What the first requests cost a server once is not what this shows.
            server.complete(words(64), 4)
            server.complete(words(FIRST_PROMPT_TOKENS), 4, cache_salt="warm-up")
        turns = []
        prompt = words(FIRST_PROMPT_TOKENS)
        for number in range(1, TURNS + 1):
            which = (number - 1) % len(servers)
            server = servers[which]
            before = server.metric(_LOADED)
            warm = server.complete(prompt, ANSWER_TOKENS)
            loaded = int(server.metric(_LOADED) - before)
            # A salt makes every key another one: the same prompt, computed from its first token.
            cold = server.complete(prompt, ANSWER_TOKENS, cache_salt=f"turn-{number}")
            turns.append(
                Turn(
                    number, which, warm.prompt_tokens, loaded, warm.cached_tokens - loaded,
                    cold.first_token_s, warm.first_token_s, warm.text == cold.text,
                )
            )  # fmt: skip
            self._say(_sentence(turns[-1]))
            prompt = [*prompt, *_ids(warm), *words(TURN_TOKENS)]
        return turns


def _ids(reply: Reply) -> list[int]:
    """The tokens of an answer: the demo's tokenizer has one word for each."""
    return [int(word[1:]) for word in reply.text.split() if word.startswith("w")]


def _sentence(turn: Turn) -> str:
    where = f"turn {turn.number} on server {'AB'[turn.server]}: {turn.prompt_tokens:,} tokens"
    if not turn.loaded_tokens:
        return f"{where}, computed; first token after {turn.warm_s * 1e3:.0f} ms"
    return (
        f"{where}, {turn.loaded_tokens:,} of them loaded; first token after {turn.warm_s * 1e3:.0f} ms "
        f"instead of {turn.cold_s * 1e3:.0f} ms"
    )


def turns_table(turns: Sequence[Turn]) -> Table:
    """The turns for people."""
    headings = (
        "turn", "server", "prompt tokens", "had itself", "loaded", "first token, computed", "with Kvasir", "same answer"
    )  # fmt: skip
    rows = [
        (
            str(turn.number), "AB"[turn.server], f"{turn.prompt_tokens:,}", f"{turn.own_tokens:,}",
            f"{turn.loaded_tokens:,}", f"{turn.cold_s * 1e3:.0f} ms", f"{turn.warm_s * 1e3:.0f} ms",
            "yes" if turn.same else "NO",
        )
        for turn in turns
    ]  # fmt: skip
    return table_of("One conversation, two vLLM servers, a Kvasir node beside each", headings, rows, words=(0, 1, 7))


def failures(turns: Sequence[Turn]) -> list[str]:
    """What a run must not show; empty when it worked."""
    found = [f"turn {turn.number}: another answer than without Kvasir" for turn in turns if not turn.same]
    moved = [turn for turn in turns if turn.number > 1]
    found += [f"turn {turn.number}: nothing was loaded" for turn in moved if not turn.loaded_tokens]
    return found


def show(console: Console, turns: Sequence[Turn], json_file: Path | None) -> int:
    """Table, JSON and verdict; the exit status."""
    console.print(turns_table(turns))
    wrong = failures(turns)
    if json_file:
        told = {"turns": [asdict(turn) for turn in turns], "failures": wrong}
        json_file.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    console.print(f"answers that differ: {sum(not turn.same for turn in turns)}", highlight=False)
    console.print(f"tokens loaded instead of computed: {sum(turn.loaded_tokens for turn in turns)}", highlight=False)
    for failure in wrong:
        console.print(f"FAILED: {failure}", highlight=False)
    return 1 if wrong else 0


def main() -> int:
    """Exit status 0 when every answer was the same and every turn that moved was loaded."""
    options = parser().parse_args()
    signal.signal(signal.SIGTERM, interrupt)
    console = Console()

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    try:
        options.state_dir.mkdir(parents=True, exist_ok=True)
        turns = VllmDemo(home(), SHARED_MEMORY, options.state_dir, say).run()
    except KeyboardInterrupt:
        say("interrupted; nothing is left behind")
        return 130
    except (CannotRunError, KvasirError, NodeFailedError, ServerFailedError, OSError) as error:
        say(f"the demo could not run: {error}")
        return 1
    return show(console, turns, options.json)


if __name__ == "__main__":
    sys.exit(main())
