from __future__ import annotations

from collections.abc import Iterator

import pytest
from kvasir_ops.testing import MIB, Node

DRAM = 256 * MIB


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """A node that tests share and leave running."""
    with Node(DRAM) as node:
        yield node


@pytest.fixture
def own_node() -> Iterator[Node]:
    """A node that the test may kill or pause."""
    with Node(DRAM) as node:
        yield node


@pytest.fixture
def ssd_node() -> Iterator[Node]:
    """A node of its own, with an SSD tier."""
    with Node(DRAM, ssd=1024 * MIB) as node:
        yield node
