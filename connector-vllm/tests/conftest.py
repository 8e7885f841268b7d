from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_process import QUICK, Engine, transfer
from kvasir_ops.testing import MIB, Node
from tinymodel import VOCABULARY, write_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with random weights."""
    return write_model(tmp_path_factory.mktemp("model") / "tiny")


def prompts(count: int, length: int = 900, seed: int = 0) -> list[list[int]]:
    """Prompts that have nothing in common."""
    chosen = random.Random(f"{seed} {length}")
    return [[chosen.randrange(3, VOCABULARY) for _ in range(length)] for _ in range(count)]


@pytest.fixture(scope="session")
def plain(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., list[list[int]]]]:
    """What an engine without Kvasir generates for prompts."""
    known: dict[str, list[list[int]]] = {}
    with Engine(model, tmp_path_factory.mktemp("plain") / "engine.log", enable_prefix_caching=False) as engine:

        def tokens(asked: list[list[int]], count: int = 12) -> list[list[int]]:
            key = repr((asked, count))
            if key not in known:
                known[key] = [engine.generate([prompt], count)["tokens"][0] for prompt in asked]
            return known[key]

        yield tokens


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A node that a module's tests may kill, and start again."""
    with Node(ssd=512 * MIB) as started:
        yield started


@pytest.fixture(scope="module")
def engine(model: Path, node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine with the connector; its own prefix cache is emptied by the tests."""
    with Engine(model, tmp_path_factory.mktemp("engine") / "engine.log", transfer(node.socket)) as started:
        yield started


@pytest.fixture(scope="module")
def hasty_engine(model: Path, node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine that does not wait long for a node, for tests in which the node does not answer."""
    with Engine(model, tmp_path_factory.mktemp("engine") / "engine.log", transfer(node.socket, **QUICK)) as started:
        yield started


Kv = dict[str, Any]
