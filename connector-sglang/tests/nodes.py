"""A real node for tests, on files of its own."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kvasir import Client, KvasirError
from kvasir_ops.node_process import NodePlaces, NodeProcess, configuration

HOME = Path(os.environ.get("KVASIR_HOME", Path(__file__).resolve().parents[2]))
START_SECONDS = 300.0  # the first start builds the node
DRAM_BYTES = 256 << 20


def until(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Polls; fails after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain: {what}"
        time.sleep(0.005)


class Node:
    """One node process that a test may pause, kill and start again."""

    def __init__(self, memory: Path, state: Path, ssd_bytes: int) -> None:
        self.places = NodePlaces(memory, state)
        self.socket = str(self.places.socket)
        settings = configuration(self.places, DRAM_BYTES, ssd_bytes)
        settings["dram"]["region"] = "32MiB"
        self._process = NodeProcess(HOME, self.places, settings)

    def start(self) -> None:
        """Starts, and waits until it answers."""
        self._process.start()
        until(self._answers, "the node answers", START_SECONDS)

    def _answers(self) -> bool:
        self._process.check()
        try:
            Client.connect(self.socket, deadline=1.0, attach_deadline=1.0).close()
        except KvasirError:
            return False
        return True

    def pause(self) -> None:
        """SIGSTOP; returns once every thread has stopped."""
        os.killpg(self._process.pid, signal.SIGSTOP)
        tasks = Path(f"/proc/{self._process.pid}/task")
        # The state follows the command's name, which stands in parentheses.
        until(
            lambda: all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T" for task in tasks.iterdir()),
            "the node's threads stop",
        )

    def resume(self) -> None:
        """SIGCONT."""
        os.killpg(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """``kill -9``."""
        self._process.kill()

    def stop(self) -> None:
        """Ends it, also when it is paused."""
        with suppress(AssertionError, ProcessLookupError):
            self.resume()
        self._process.stop()

    def data_files(self) -> list[Path]:
        """The payload files of its DRAM tier."""
        return [
            path for path in (self.places.shared_memory / "dram").rglob("*") if path.is_file() and "data" in path.name
        ]


@contextmanager
def running_node(ssd_bytes: int = 0) -> Iterator[Node]:
    """A node that runs, and is gone with its files afterwards."""
    memory = Path(tempfile.mkdtemp(prefix="kvasir-sglang-test-", dir="/dev/shm"))
    state = Path(tempfile.mkdtemp(prefix="kvasir-sglang-test-"))
    node = Node(memory, state, ssd_bytes)
    try:
        node.start()
        yield node
    finally:
        node.stop()
        shutil.rmtree(memory, ignore_errors=True)
        shutil.rmtree(state, ignore_errors=True)
