from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from nodes import Node

from kvasir import Client, Namespace

NAMESPACE = Namespace("client-test", chunk_tokens=256, layout="opaque")


@contextmanager
def running(settings: Mapping[str, Any] | None = None) -> Iterator[Node]:
    """A node with settings of its own, which is gone afterwards."""
    memory = Path(tempfile.mkdtemp(prefix="kvasir-client-test-", dir="/dev/shm"))
    state = Path(tempfile.mkdtemp(prefix="kvasir-client-test-"))
    node = Node(memory, state, settings)
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
    with running() as shared:
        yield shared


@pytest.fixture
def own_node() -> Iterator[Node]:
    """A node that the test may kill or pause."""
    with running() as own:
        yield own


@pytest.fixture
def client(node: Node) -> Iterator[Client]:
    with Client.connect(node.socket, namespace=NAMESPACE, deadline=10.0) as connected:
        yield connected
