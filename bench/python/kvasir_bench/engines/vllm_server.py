"""A vLLM server in a process group of its own on this machine's CPU: started, asked and ended by demo and tests."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from kvasir_bench.environments import CPU_ENGINE

MODEL = "tiny"
BLOCK_TOKENS = 32
#: Scheduler, workers and the API of one server together.
SERVER_BYTES = 2_700 << 20
_START_S = 240.0
_STOP_S = 20.0
_ANSWER_S = 120.0

#: No network, no compiler at the first request, and threads where the system puts them.
_VARIABLES = {
    "HF_HUB_OFFLINE": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
}


class ServerFailedError(Exception):
    """The server ended, or did not answer; the message has the end of its log."""


@dataclass(frozen=True)
class Reply:
    """One answer.

    Attributes:
        text: what was generated.
        first_token_s: seconds from sending to the first token.
        prompt_tokens: of the request.
        cached_tokens: that were not computed, wherever they came from.
    """

    text: str
    first_token_s: float
    prompt_tokens: int
    cached_tokens: int


def kvasir_transfer(socket_path: str, role: str = "kv_both", **options: Any) -> dict[str, Any]:
    """vLLM's ``--kv-transfer-config`` for the node on this socket; ``options`` are the connector's."""
    return {
        "kv_connector": "KvasirConnector",
        "kv_connector_module_path": "kvasir_vllm",
        "kv_role": role,
        "kv_load_failure_policy": "recompute",
        "kv_connector_extra_config": {"socket": socket_path, **options},
    }


class VllmServer:
    """One server. ``start`` returns at once; ``wait_ready`` waits. Ends with the thread that started it."""

    def __init__(
        self,
        home: Path,
        python: Path,
        model: Path,
        log: Path,
        transfer: dict[str, Any] | None,
        *flags: str,
        paths: tuple[Path, ...] = (),
    ) -> None:
        self.log = log
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        places = [CPU_ENGINE, home / "client" / "src", home / "connector-vllm" / "src", *paths]
        self._environment = {
            **os.environ,
            **_VARIABLES,
            "PYTHONPATH": os.pathsep.join(map(os.fspath, places)),
        }
        tied = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        kv = ["--kv-transfer-config", json.dumps(transfer)] if transfer is not None else []
        self._command = [
            *tied, os.fspath(python), "-m", "vllm.entrypoints.openai.api_server",
            "--model", os.fspath(model), "--served-model-name", MODEL,
            "--host", "127.0.0.1", "--port", str(self.port),
            "--dtype", "bfloat16", "--max-model-len", "4096", "--block-size", str(BLOCK_TOKENS),
            "--max-num-seqs", "4", "--kv-cache-memory-bytes", str(128 << 20),
            "--enforce-eager", "--enable-prompt-tokens-details", *kv, *flags,
        ]  # fmt: skip

    def start(self) -> None:
        """Starts the process."""
        assert self._process is None
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment,
                start_new_session=True,
            )  # fmt: skip

    def wait_ready(self, say: Any = None) -> None:
        """Until it answers.

        Raises:
            ServerFailedError: it ended, or took too long.
        """
        begun = time.monotonic()
        said = begun
        while not self._healthy():
            self.check()
            now = time.monotonic()
            if now - begun > _START_S:
                raise ServerFailedError(f"vLLM was not ready after {_START_S:.0f} s; {self._tail()}")
            if say is not None and now - said >= 10:
                said = now
                say(f"vLLM on port {self.port} is starting ... {now - begun:.0f} s")
            time.sleep(0.2)

    def check(self) -> None:
        """Raises when it has ended by itself.

        Raises:
            ServerFailedError: with the end of its log.
        """
        if self._process is not None and self._process.poll() is not None:
            raise ServerFailedError(f"vLLM ended with status {self._process.returncode}; {self._tail()}")

    def _tail(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "the end of its log:\n" + "\n".join(lines[-30:])

    def _healthy(self) -> bool:
        with suppress(OSError, http.client.HTTPException), closing(self._connect(2.0)) as connection:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        return False

    def _connect(self, seconds: float) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)

    def complete(self, prompt: list[int], tokens: int = 16, **fields: Any) -> Reply:
        """Sends token ids and reads the answer as it comes.

        Raises:
            ServerFailedError: no answer.
        """
        return complete(self.port, {"model": MODEL, "prompt": prompt, "max_tokens": tokens, **fields}, self)

    def metric(self, name: str) -> float:
        """The sum over a metric's series; 0 while it has none."""
        with closing(self._connect(10.0)) as connection:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        return sum(float(value) for value in re.findall(rf"^{re.escape(name)}\{{.*\}} (\S+)$", text, re.MULTILINE))

    def signal_all(self, number: signal.Signals) -> None:
        """A signal to all of its processes, at once."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def stop(self) -> None:
        """SIGTERM to the server, then SIGKILL to all of its processes."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_S)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def __enter__(self) -> VllmServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def complete(port: int, body: dict[str, Any], server: VllmServer | None = None) -> Reply:
    """One streamed completion of a server or a router on this machine.

    Raises:
        ServerFailedError: no answer, or one that is no completion.
    """
    request = {
        "temperature": 0, "ignore_eos": True, "stream": True, "stream_options": {"include_usage": True}, **body,
    }  # fmt: skip
    begun = time.monotonic()
    first = 0.0
    text: list[str] = []
    usage: dict[str, Any] = {}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_S)
    try:
        with closing(connection):
            connection.request("POST", "/v1/completions", json.dumps(request), {"content-type": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                raise ServerFailedError(f"port {port} answers {response.status}: {response.read(2000).decode()}")
            for event in _events(response):
                if "error" in event:
                    raise ServerFailedError(f"port {port}: {event['error']}")
                if event.get("choices"):
                    first = first or time.monotonic() - begun
                    text.append(event["choices"][0]["text"])
                usage = event.get("usage") or usage
    except (OSError, http.client.HTTPException) as error:
        if server is not None:
            server.check()
        raise ServerFailedError(f"port {port} gave no answer: {error!r}") from error
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return Reply("".join(text), first, int(usage.get("prompt_tokens", 0)), int(cached))


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    for line in response:
        data = line.strip().removeprefix(b"data: ")
        if line.startswith(b"data: ") and data != b"[DONE]":
            yield json.loads(data)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
