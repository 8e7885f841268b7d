from __future__ import annotations

from collections.abc import Iterator

import pytest
from kvasir_ops.testing import MIB, Node

from kvasir import Client, Namespace

NAMESPACE = Namespace("client-test", chunk_tokens=256, layout="opaque")
DRAM = 512 * MIB


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """A node that tests share and leave running."""
    with Node(DRAM) as shared:
        yield shared


@pytest.fixture
def own_node() -> Iterator[Node]:
    """A node that the test may kill or pause."""
    with Node(DRAM) as own:
        yield own


@pytest.fixture
def client(node: Node) -> Iterator[Client]:
    with Client.connect(node.socket, namespace=NAMESPACE, deadline=10.0) as connected:
        yield connected
