from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
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


def _node(ssd_bytes: int = 0) -> Iterator[Node]:
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


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A node that the tests of a file share and leave running."""
    yield from _node()


@pytest.fixture
def own_node() -> Iterator[Node]:
    """A node that the test may kill or pause."""
    yield from _node()


@pytest.fixture
def rig() -> Iterator[Callable[..., Any]]:
    """Makes vLLM's manager with the tier; closed at the end."""
    from tiering.rig import Rig

    made: list[Rig] = []

    def make(socket: str, **options: Any) -> Rig:
        made.append(Rig(socket, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
