"""Starts the real node (and Java programs beside it) for a benchmark, and ends it with all it started."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kvasir import Client, KvasirError, Namespace
from kvasir_ops.node_process import NodePlaces, NodeProcess

NAMESPACE = Namespace(model="kvasir-bench", chunk_tokens=256, layout="opaque bytes, version 1", kv_dtype="uint8")
START_BOUND_S = 60.0
MIB = 1 << 20
_HTTP_ADDRESS = re.compile(r"127\.0\.0\.1:(\d+)")


class NodeError(Exception):
    """A node or a Java program beside it cannot be used; the message says why."""


class Node:
    """One node with settings of its own, its clients, and what it uses. Owned by the suite that made it."""

    def __init__(self, home: Path, directory: Path, shared_memory: Path, settings: Mapping[str, Any]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        shared_memory.mkdir(parents=True, exist_ok=True)
        places = NodePlaces(shared_memory, directory)
        self.arena = shared_memory / "arena"
        self.ssd_places = directory / "ssd" / "places"
        self.ssd_extents = directory / "ssd" / "extents"
        self.socket = str(places.socket)
        self._process = NodeProcess(home, places, self._settings(directory, settings))

    def _settings(self, directory: Path, given: Mapping[str, Any]) -> dict[str, Any]:
        own: dict[str, Any] = {
            "engine": {"socket": self.socket},
            "dram": {"directory": str(self.arena)},
            "ssd": {"directory": str(directory / "ssd")},
            "http": {"address": "off"},
        }
        for section, values in given.items():
            own[section] = own.get(section, {}) | values if isinstance(values, Mapping) else values
        return own

    def start(self) -> float:
        """Starts the process and returns at once; ``time.monotonic()`` of the start."""
        self._process.start()
        started_at: float = self._process.started_at
        return started_at

    def client(self, **options: Any) -> Client:
        """A client of this node, attached; waits for a node that is starting."""
        end = time.monotonic() + START_BOUND_S
        while True:
            self._process.check()
            # An attempt of the client costs milliseconds of a processor that the starting node needs.
            if not self._listens() and time.monotonic() < end:
                time.sleep(0.005)
                continue
            try:
                return Client.connect(self.socket, namespace=NAMESPACE, name="bench", **options)
            except KvasirError as error:
                if time.monotonic() > end:
                    raise NodeError(f"no attachment within {START_BOUND_S:g} s: {error}") from error
                time.sleep(0.005)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.socket) == 0

    @property
    def pid(self) -> int:
        """Of the process."""
        number: int = self._process.pid
        return number

    def check_alive(self) -> None:
        """Raises NodeFailedError when the process has ended."""
        self._process.check()

    def kill(self) -> None:
        """``kill -9``; returns when the process is gone."""
        self._process.kill()

    def close(self) -> None:
        """SIGTERM, and SIGKILL when that takes too long. Idempotent."""
        self._process.stop()

    def http_port(self) -> int | None:
        """Where the process that runs serves HTTP on 127.0.0.1, as its log says; None when it does not say so."""
        log = self._process.places.log.read_text(encoding="utf-8", errors="replace")
        ports = _HTTP_ADDRESS.findall(log)
        return int(ports[-1]) if ports else None

    def damaged_objects(self) -> int:
        """Objects that the node has dropped, since its first start, because their bytes did not fit their checksum."""
        log = self._process.places.log.read_text(encoding="utf-8", errors="replace")
        return log.count("does not fit its checksum") + log.count("is not what was written")

    def anonymous_bytes(self) -> int:
        """Resident anonymous memory of the process."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise NodeError("the kernel does not tell RssAnon")


class Helper:
    """A Java program beside the node that says a line when it is ready, and ends when its input does."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdout is not None
        self.first_line = self._process.stdout.readline().strip()
        if not self.first_line:
            self.close()
            raise NodeError(f"{command[-2:]} ended at once")

    def close(self) -> None:
        """Ends it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def read_metric(port: int, name: str, label: str = "") -> float | None:
    """The sum over all labels of a counter or gauge that the node exposes; None when it has no such metric.

    Args:
        port: of the node's metrics.
        name: of the metric.
        label: ``name="value"``, of those that count; empty: all.
    """
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    found = [
        float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name and label in line
    ]
    return sum(found) if found else None
