from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kvasir_ops.testing import MIB, Node
from upstreams import Upstream


@pytest.fixture
def engine() -> Iterator[Callable[..., Upstream]]:
    """Starts doubles of engines, and stops them at the end."""
    started: list[Upstream] = []

    def start(name: str, **behavior: Any) -> Upstream:
        upstream = Upstream(name, **behavior).start()
        started.append(upstream)
        return upstream

    yield start
    for upstream in started:
        upstream.stop()


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A node that the tests of a file share and leave running."""
    with Node(64 * MIB) as one:
        yield one


@pytest.fixture
def own_node() -> Iterator[Node]:
    """A node that the test may kill or pause."""
    with Node(64 * MIB) as one:
        yield one
