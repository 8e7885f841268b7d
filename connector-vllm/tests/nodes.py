"""Real nodes for tests: started, killed, paused and started again on the same files."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from kvasir import Client, KvasirError
from kvasir_ops import home
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
    """One node with files of its own, gone at the end."""

    def __init__(self, dram: int = 128 * MIB, ssd: int = 512 * MIB, region: int = 16 * MIB) -> None:
        self._memory = Path(tempfile.mkdtemp(prefix="kvasir-vllm-test-", dir="/dev/shm"))
        self.state = Path(tempfile.mkdtemp(prefix="kvasir-vllm-test-"))
        self.places = NodePlaces(self._memory, self.state)
        settings = configuration(self.places, dram, ssd)
        settings["dram"]["region"] = f"{region}B"
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
        except KvasirError:
            return False
        return True

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
