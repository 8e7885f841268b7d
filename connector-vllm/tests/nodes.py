"""Real nodes for tests: started, killed, paused and started again on the same files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from kvasir import Client, KvasirError, Namespace, NotPermittedError, UnauthenticatedError
from kvasir_ops import home
from kvasir_ops.lab.nodes import free_ports
from kvasir_ops.node_process import NodePlaces, NodeProcess, configuration

START_S = 300.0  # the first start builds the node
MIB = 1 << 20


def until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Polls; fails after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain: {what}"
        time.sleep(0.005)


class Node:
    """One node with files of its own, gone at the end.

    Args:
        dram, ssd, region: bytes.
        more: of its configuration, by section.
    """

    def __init__(
        self,
        dram: int = 128 * MIB,
        ssd: int = 512 * MIB,
        region: int = 16 * MIB,
        more: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._memory = Path(tempfile.mkdtemp(prefix="kvasir-vllm-test-", dir="/dev/shm"))
        self.state = Path(tempfile.mkdtemp(prefix="kvasir-vllm-test-"))
        self.places = NodePlaces(self._memory, self.state)
        settings = configuration(self.places, dram, ssd)
        settings["dram"]["region"] = f"{region}B"
        for section, values in (more or {}).items():
            settings[section] = {**settings.get(section, {}), **values}
        self._settings = settings
        self._process = NodeProcess(home(), self.places, settings)
        self.socket = str(self.places.socket)

    @property
    def extents(self) -> Path:
        """The SSD tier's directory."""
        return self.state / "ssd"

    def start(self) -> None:
        """Starts, and waits until the node answers."""
        self._process.start()
        until(self._answers, "the node answers", START_S)

    def _answers(self) -> bool:
        self._process.check()
        try:
            Client.connect(self.socket, deadline=1.0, attach_deadline=2.0).close()
        except (NotPermittedError, UnauthenticatedError):
            return True
        except KvasirError:
            return False
        return True

    def configure(self, **sections: Any) -> None:
        """What a stopped node is told from its next start on, beside what it was told at first."""
        self.places.configuration.write_text(json.dumps({**self._settings, **sections}), encoding="utf-8")

    def kill(self) -> None:
        """``kill -9``."""
        self._process.kill()

    def pause(self) -> None:
        """SIGSTOP. The signal goes to one thread, and until that runs the others do."""
        os.killpg(self._process.pid, signal.SIGSTOP)
        status = Path(f"/proc/{self._process.pid}/status")
        until(lambda: "\nState:\tT" in status.read_text(encoding="ascii", errors="replace"), "the node is stopped")

    def resume(self) -> None:
        """SIGCONT."""
        os.killpg(self._process.pid, signal.SIGCONT)

    def stop(self) -> None:
        """In order."""
        self._process.stop()

    def clear_dram(self) -> None:
        """Of a stopped node: what a reboot of the machine does to it."""
        shutil.rmtree(self._memory / "dram", ignore_errors=True)

    def __enter__(self) -> Node:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._process.stop()
        finally:
            shutil.rmtree(self._memory, ignore_errors=True)
            shutil.rmtree(self.state, ignore_errors=True)


@contextmanager
def cluster(*names: str) -> Iterator[tuple[Node, ...]]:
    """Nodes that are one cache, once they have found each other."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(len(names))]
    with ExitStack() as stack:
        nodes = []
        for name, address in zip(names, addresses, strict=True):
            told: dict[str, dict[str, Any]] = {
                "node": {"name": name},
                "cluster": {"seeds": addresses, "address": address},
            }
            nodes.append(stack.enter_context(Node(more=told)))
        for node in nodes:
            client = stack.enter_context(Client.connect(node.socket, namespace=Namespace("anybody", 256), deadline=5.0))
            until(lambda seen=client: len(seen.scores(bytes(32)).nodes) == len(names), "the nodes meet", 60)  # type: ignore[misc]
            client.close()
        yield tuple(nodes)
