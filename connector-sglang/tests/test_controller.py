"""SGLang's own controller stores and prefetches through the backend; every byte that it counts as loaded is compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from nodes import Node

pytestmark = [pytest.mark.engine, pytest.mark.integration]

pytest.importorskip("sglang", reason="runs in the environment of ./kvasir test --engines")

from controller import MHA_LAYOUTS, MLA_LAYOUTS, Engine, parallel, scramble, tokens

POOLS = [(layout, False) for layout in MHA_LAYOUTS] + [(layout, True) for layout in MLA_LAYOUTS]


@pytest.fixture(autouse=True, scope="module")
def one_rank() -> None:
    parallel()


@pytest.fixture
def make(node: Node) -> Iterator[Any]:
    engines: list[Engine] = []

    def make(*arguments: Any, **options: Any) -> Engine:
        engines.append(Engine(node.socket, *arguments, **options))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.mark.parametrize("interface_v1", [1, 0])
@pytest.mark.parametrize(("layout", "mla"), POOLS)
def test_pages_come_back_byte_for_byte(make: Any, layout: str, mla: bool, interface_v1: int) -> None:
    engine = make(layout, mla=mla, interface_v1=interface_v1)
    prompt = tokens(10)
    stored, wanted = engine.backup(prompt)
    assert stored == len(prompt)
    scramble(engine.pool)
    assert engine.prefetch(prompt) == wanted
