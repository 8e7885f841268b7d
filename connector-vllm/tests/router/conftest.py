from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from router.upstreams import Upstream


@pytest.fixture
def engine() -> Iterator[Callable[..., Upstream]]:
    """Starts doubles of engines, and stops them at the end."""
    started: list[Upstream] = []

    def start(name: str, **behaviour: Any) -> Upstream:
        upstream = Upstream(name, **behaviour).start()
        started.append(upstream)
        return upstream

    yield start
    for upstream in started:
        upstream.stop()
