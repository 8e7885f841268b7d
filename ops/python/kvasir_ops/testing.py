"""A real node for tests, in the packages' own trees and inside the environments of engines."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from kvasir import Client, KvasirError, Namespace, NotPermittedError, UnauthenticatedError

from kvasir_ops import home
from kvasir_ops.lab.nodes import free_ports
from kvasir_ops.node_process import NodePlaces, NodeProcess, configuration

START_SECONDS = 300.0  # the first start builds the node
MIB = 1 << 20


def until(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Polls; fails after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain: {what}"
        time.sleep(0.005)


class Node(NodeProcess):
    """A node on files of its own: paused, killed and started again on them. They are gone at the end.

    Args:
        dram: capacity in bytes.
        ssd: capacity in bytes; 0: no SSD tier.
        region: bytes of one of the arena's files.
        settings: what else the node is told, by section.
        within: the beginning of a command line that runs the rest of it somewhere, and becomes it (``exec``).
        jvm_options: of this node's JVM.
    """

    def __init__(
        self,
        dram: int = 128 * MIB,
        ssd: int = 0,
        region: int = 16 * MIB,
        settings: Mapping[str, Any] | None = None,
        within: Sequence[str] = (),
        jvm_options: str = "",
    ) -> None:
        places = NodePlaces(
            Path(tempfile.mkdtemp(prefix="kvasir-test-", dir="/dev/shm")), Path(tempfile.mkdtemp(prefix="kvasir-test-"))
        )
        told: dict[str, Any] = configuration(places, dram, ssd)
        told["dram"]["region"] = f"{region}B"
        for section, values in (settings or {}).items():
            told[section] = told.get(section, {}) | values if isinstance(values, Mapping) else values
        self._told = told
        super().__init__(home(), places, told, within, jvm_options)
        self.socket = told["engine"]["socket"]

    def start(self) -> None:
        """Starts, and waits until it answers."""
        super().start()
        until(self._answers, "the node answers", START_SECONDS)

    def _answers(self) -> bool:
        self.check()
        try:
            Client.connect(self.socket, deadline=1.0, attach_deadline=1.0).close()
        except (NotPermittedError, UnauthenticatedError):
            return True
        except KvasirError:
            return False
        return True

    def configure(self, **sections: Any) -> None:
        """What a stopped node is told from its next start on, beside what it was told at first."""
        self.places.configuration.write_text(json.dumps(self._told | sections), encoding="utf-8")

    def pause(self) -> None:
        """SIGSTOP; returns once every thread has stopped."""
        super().pause()
        tasks = Path(f"/proc/{self.pid}/task")
        # The state follows the command's name, which stands in parentheses.
        until(
            lambda: all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T" for task in tasks.iterdir()),
            "the node's threads stop",
        )

    @property
    def log(self) -> Path:
        """The output of every start."""
        return self.places.log

    @property
    def dram(self) -> Path:
        """The directory of the DRAM tier; what is in it is gone after a reboot of the machine."""
        return self.places.shared_memory / "dram"

    @property
    def ssd(self) -> Path:
        """The directory of the SSD tier."""
        return self.places.state / "ssd"

    def data_files(self) -> list[Path]:
        """The payload files of its DRAM tier."""
        return [path for path in self.dram.rglob("*") if path.is_file() and "data" in path.name]

    def __enter__(self) -> Node:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self.places.shared_memory, ignore_errors=True)
            shutil.rmtree(self.places.state, ignore_errors=True)


@contextmanager
def cluster(*names: str, ssd: int = 0) -> Iterator[tuple[Node, ...]]:
    """Nodes that are one cache, once they have found each other."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(len(names))]
    with ExitStack() as stack:
        nodes = []
        for name, address in zip(names, addresses, strict=True):
            told = {"node": {"name": name}, "cluster": {"seeds": addresses, "address": address}}
            nodes.append(stack.enter_context(Node(ssd=ssd, settings=told)))
        for node in nodes:
            with Client.connect(node.socket, namespace=Namespace("anybody", 256), deadline=5.0) as client:
                until(lambda seen=client: len(seen.scores(bytes(32)).nodes) == len(names), "the nodes meet")  # type: ignore[misc]
        yield tuple(nodes)
