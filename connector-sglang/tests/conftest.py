from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

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


@pytest.fixture
def hasty() -> Iterator[Callable[..., Any]]:
    """Makes engines of a class that do not wait long for a node; afterwards their threads must still live."""
    made: list[Any] = []

    def make(kind: Callable[..., Any], node: Node, **options: Any) -> Any:
        quick = {"exists_deadline_ms": 1000, "load_deadline_ms": 2000, "store_deadline_ms": 2000} | options
        made.append(kind(node.socket, **quick))
        return made[-1]

    yield make
    for engine in made:
        assert engine.alive()
        engine.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("kvasir")]
