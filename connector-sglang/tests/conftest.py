from __future__ import annotations

from collections.abc import Iterator

import pytest
from nodes import Node, running_node


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """A node that tests share and leave running."""
    with running_node() as node:
        yield node


@pytest.fixture
def own_node() -> Iterator[Node]:
    """A node that the test may kill or pause."""
    with running_node() as node:
        yield node


@pytest.fixture
def ssd_node() -> Iterator[Node]:
    """A node of its own, with an SSD tier."""
    with running_node(ssd_bytes=1 << 30) as node:
        yield node
