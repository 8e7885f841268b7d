"""Two nodes are one cache: what an engine beside the one has stored is loaded by an engine beside the other."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import prompts
from engine_process import Engine, transfer
from kvasir_ops.arena_headers import committed_objects
from kvasir_ops.lab.corruption import corrupt_dram
from kvasir_ops.testing import Node, cluster, until

pytestmark = [pytest.mark.engine, pytest.mark.integration, pytest.mark.one_version]

Plain = Callable[..., list[list[int]]]
LOADED = 768  # of 900 tokens: whole chunks of 256
EVERY = 1 << 20
NEVER_STORES = {"kv_role": "kv_consumer"}


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Node, Node]]:
    with cluster("node-a", "node-b") as (first, second):
        yield first, second


@pytest.fixture(scope="module")
def here(model: Path, pair: tuple[Node, Node], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(model, tmp_path_factory.mktemp("here") / "engine.log", transfer(pair[0].socket)) as started:
        yield started


@pytest.fixture(scope="module")
def there(model: Path, pair: tuple[Node, Node], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(
        model, tmp_path_factory.mktemp("there") / "engine.log", transfer(pair[1].socket) | NEVER_STORES
    ) as started:
        # A node does not pull what an engine computes sooner; here it is to be pulled however busy the machine is.
        started.ask("tell_no_speed")
        yield started


def from_peer(engine: Engine, asked: list[list[int]]) -> dict[str, Any]:
    """The first answer for which something was loaded: what a node stored is published to others a little later."""
    found: list[dict[str, Any]] = []

    def loaded() -> bool:
        engine.forget()
        found.append(engine.generate(asked))
        return any(found[-1]["cached"])

    until(loaded, "the other node's chunks are found", 60)
    return found[-1]


def pages(engine: Engine) -> list[str]:
    found: list[str] = engine.ask("pages")[0][: LOADED // 32]
    assert all(found)
    return found


def test_same_tokens_and_pages_from_a_peer(here: Engine, there: Engine, plain: Plain) -> None:
    for number in range(3):
        asked = prompts(1, seed=300 + number)
        here.generate(asked)
        stored = pages(here)
        here.ask("drain")
        answer = from_peer(there, asked)
        assert answer["cached"] == [LOADED]
        assert pages(there) == stored
        assert answer["tokens"] == plain(asked)


def test_end_of_a_prompt_whose_beginning_the_engine_has_comes_from_a_peer(
    here: Engine, there: Engine, plain: Plain
) -> None:
    asked = prompts(1, seed=305)
    there.forget()
    there.generate([asked[0][:300]])
    here.generate(asked)
    here.ask("drain")

    def loaded() -> bool:
        return bool(there.generate(asked)["cached"] == [LOADED])

    # Each try computes the prompt where nothing came, so the beginning is all that the engine keeps.
    for _ in range(20):
        if loaded():
            break
        there.forget()
        there.generate([asked[0][:300]])
    else:
        pytest.fail("the end of the prompt was never loaded")
    assert there.generate(asked)["tokens"] == plain(asked)


def test_objects_that_were_damaged_on_a_peer(
    pair: tuple[Node, Node], here: Engine, there: Engine, plain: Plain
) -> None:
    arena = pair[0].places.shared_memory / "dram"
    before = {found.key for found in committed_objects(arena)}
    asked = prompts(1, seed=310)
    here.generate(asked)
    here.ask("drain")
    until(
        lambda: sum(found.summed and found.key not in before for found in committed_objects(arena)) == LOADED // 256,
        "what was stored is summed",
    )
    # By now the other node would find them: it has found what was stored later.
    later = prompts(1, seed=311)
    here.generate(later)
    here.ask("drain")
    from_peer(there, later)
    there.forget()
    assert len(corrupt_dram(pair[0].places, EVERY, random.Random(1))) >= LOADED // 256
    answer = there.generate(asked)
    assert answer["cached"] == [0]
    assert answer["tokens"] == plain(asked)
    assert set(there.ask("held").values()) == {0}


def test_loading_zeros_from_a_peer_would_be_noticed(here: Engine, there: Engine, plain: Plain) -> None:
    asked = prompts(1, seed=320)
    here.generate(asked)
    here.ask("drain")
    there.ask("load_zeros")
    answer = from_peer(there, asked)
    there.ask("load_zeros", on=False)
    assert answer["cached"] == [LOADED]
    assert answer["tokens"] != plain(asked)


def test_peer_is_killed(pair: tuple[Node, Node], here: Engine, there: Engine, plain: Plain) -> None:
    """Last of this module: the node does not come back."""
    asked = prompts(1, seed=330)
    here.generate(asked)
    here.ask("drain")
    pair[0].kill()
    answer = there.generate(asked)
    assert answer["tokens"] == plain(asked)
    assert answer["finish"] == ["length"]
    assert set(there.ask("held").values()) == {0}
