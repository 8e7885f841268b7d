from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes import Node

from kvasir import Client, Namespace

NAMESPACE = Namespace("client-test", chunk_tokens=256, layout="opaque")


def _node() -> Iterator[Node]:
    memory = Path(tempfile.mkdtemp(prefix="kvasir-client-test-", dir="/dev/shm"))
    state = Path(tempfile.mkdtemp(prefix="kvasir-client-test-"))
    node = Node(memory, state)
    try:
        node.start()
        yield node
    finally:
        node.stop()
        shutil.rmtree(memory, ignore_errors=True)
        shutil.rmtree(state, ignore_errors=True)


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """A node that tests share and leave running."""
    yield from _node()


@pytest.fixture
def own_node() -> Iterator[Node]:
    """A node that the test may kill or pause."""
    yield from _node()


@pytest.fixture
def client(node: Node) -> Iterator[Client]:
    with Client.connect(node.socket, namespace=NAMESPACE, deadline=10.0) as connected:
        yield connected
