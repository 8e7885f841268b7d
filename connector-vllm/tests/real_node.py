"""A real node, as the tests of the tier and of the router start, pause and kill it."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kvasir import Client, KvasirError
from kvasir_ops import home
from kvasir_ops.node_process import NodePlaces, NodeProcess, configuration

START_SECONDS = 300.0  # the first start builds the node


class Node(NodeProcess):
    """A node for tests: it may be paused, too."""

    def __init__(self, places: NodePlaces, ssd_bytes: int = 0) -> None:
        settings = configuration(places, 64 << 20, ssd_bytes)
        settings["dram"]["region"] = "16MiB"
        super().__init__(home(), places, settings)
        self.socket = os.fspath(places.socket)

    def ready(self) -> Node:
        """Starts, and waits until it answers."""
        self.start()
        end = time.monotonic() + START_SECONDS
        while True:
            self.check()
            try:
                Client.connect(self.socket, deadline=1.0, attach_deadline=1.0).close()
                return self
            except KvasirError:
                assert time.monotonic() < end, "the node does not answer"
                time.sleep(0.02)

    def pause(self) -> None:
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)


@contextmanager
def running(ssd_bytes: int = 0) -> Iterator[Node]:
    memory = Path(tempfile.mkdtemp(prefix="kvasir-tier-test-", dir="/dev/shm"))
    state = Path(tempfile.mkdtemp(prefix="kvasir-tier-test-"))
    node = Node(NodePlaces(memory, state), ssd_bytes)
    try:
        yield node.ready()
    finally:
        if node._process is not None and node._process.poll() is None:
            node.resume()
        node.stop()
        shutil.rmtree(memory, ignore_errors=True)
        shutil.rmtree(state, ignore_errors=True)
