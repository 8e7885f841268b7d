from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kvasir_ops.testing import MIB, Node


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
