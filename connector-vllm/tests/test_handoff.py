"""A prefill engine computes for a decode engine beside another node: chunks and the prompt's tail arrive."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import prompts
from engine_process import Engine, transfer
from kvasir import Client, Tier
from kvasir_ops.testing import Node, cluster, until

pytestmark = [pytest.mark.engine, pytest.mark.integration]

Plain = Callable[..., list[list[int]]]
Pair = tuple[Node, Node]
CHUNKS = 3  # of 256 tokens, in a prompt of 900; then a tail of 132, which is 4 blocks and a part of one
LENGTH = 900


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with cluster("node-p", "node-d") as (first, second):
        yield first, second


@pytest.fixture(scope="module")
def prefill(model: Path, pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    log = tmp_path_factory.mktemp("prefill") / "engine.log"
    with Engine(model, log, transfer(pair[0].socket) | {"kv_role": "kv_producer"}) as started:
        yield started


@pytest.fixture(scope="module")
def decode(model: Path, pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    log = tmp_path_factory.mktemp("decode") / "engine.log"
    with Engine(model, log, transfer(pair[1].socket) | {"kv_role": "kv_consumer"}) as started:
        yield started


def parameters(node: str = "node-d") -> tuple[dict[str, Any], dict[str, Any]]:
    """What a router tells the prefill engine, and what it tells the decode engine."""
    shared = {"kvasir_handoff_id": uuid.uuid4().hex}
    return {**shared, "kvasir_handoff_node": node}, shared


def arrived(node: Node) -> int:
    """Objects that have ever come into a node's DRAM, from its own events."""
    with Client.connect(node.socket, deadline=5.0) as client:
        count, after = 0, 0
        while batch := client.events(after).events:
            count += sum(event.kind == "STORED" and event.tier == Tier.DRAM for event in batch)
            after = batch[-1].sequence
    return count


def test_prompt_is_on_the_other_node_before_anybody_asks_for_it(
    pair: Pair, prefill: Engine, decode: Engine, plain: Plain
) -> None:
    asked = prompts(1, LENGTH, seed=200)
    given, taken = parameters()
    before = arrived(pair[1])
    prefill.generate(asked, 1, given)
    computed = prefill.ask("pages")
    prefill.ask("drain")
    until(lambda: arrived(pair[1]) - before == CHUNKS + 1, "the chunks and the tail were sent")
    pair[0].pause()
    try:
        answer = decode.generate(asked, params=taken)
    finally:
        pair[0].resume()
    assert answer["cached"] == [LENGTH]
    assert answer["tokens"] == plain(asked)
    assert decode.ask("pages") == computed
    assert all(computed[0])
    assert set(decode.ask("held").values()) == set(prefill.ask("held").values()) == {0}


def test_what_is_on_its_way_is_waited_for(prefill: Engine, decode: Engine, plain: Plain) -> None:
    for number in range(3):
        asked = prompts(1, LENGTH, seed=210 + number)
        given, taken = parameters()
        prefill.generate(asked, 1, given)
        answer = decode.generate(asked, params=taken)
        assert answer["cached"] == [LENGTH]
        assert answer["tokens"] == plain(asked)


def test_prompt_shorter_than_a_chunk_is_handed_off_too(prefill: Engine, decode: Engine, plain: Plain) -> None:
    asked = prompts(1, 150, seed=220)
    given, taken = parameters()
    prefill.generate(asked, 1, given)
    answer = decode.generate(asked, params=taken)
    assert answer["cached"] == [150]
    assert answer["tokens"] == plain(asked)


def test_what_the_prefill_engine_had_already_is_handed_off_too(prefill: Engine, decode: Engine, plain: Plain) -> None:
    asked = prompts(1, LENGTH, seed=230)
    prefill.generate(asked, 1)
    given, taken = parameters()
    assert prefill.generate(asked, 1, given)["cached"][0] > 0
    answer = decode.generate(asked, params=taken)
    assert answer["cached"] == [LENGTH]
    assert answer["tokens"] == plain(asked)


def test_tail_is_for_the_request_that_it_was_computed_for(prefill: Engine, decode: Engine, plain: Plain) -> None:
    asked = prompts(1, LENGTH, seed=240)
    given, taken = parameters()
    prefill.generate(asked, 1, given)
    other = prompts(1, LENGTH, seed=241)
    mixed = [asked[0][: CHUNKS * 256] + other[0][CHUNKS * 256 :]]
    # The same id with other tokens behind the last chunk: computed, after waiting in vain.
    answer = decode.generate(mixed, params=taken)
    assert answer["cached"] == [CHUNKS * 256]
    assert answer["tokens"] == plain(mixed)


def test_nobody_computes_what_was_promised(decode: Engine, plain: Plain) -> None:
    asked = prompts(1, LENGTH, seed=250)
    answer = decode.generate(asked, params=parameters()[1])
    assert answer["cached"] == [0]
    assert answer["tokens"] == plain(asked)


def test_node_that_nobody_knows_is_said_once(prefill: Engine, plain: Plain) -> None:
    for number in range(2):
        asked = prompts(1, LENGTH, seed=260 + number)
        assert prefill.generate(asked, 12, parameters("node-x")[0])["tokens"] == plain(asked)
    prefill.ask("drain")
    assert prefill.log.count("prompts are not handed off to node-x") == 1


def test_loading_zeros_would_be_noticed(prefill: Engine, decode: Engine, plain: Plain) -> None:
    asked = prompts(1, LENGTH, seed=270)
    given, taken = parameters()
    prefill.generate(asked, 1, given)
    decode.ask("load_zeros", on=True)
    answer = decode.generate(asked, params=taken)
    decode.ask("load_zeros", on=False)
    assert answer["cached"] == [LENGTH]
    assert answer["tokens"] != plain(asked)


def test_decode_engines_node_is_dead(pair: Pair, prefill: Engine, decode: Engine, plain: Plain) -> None:
    """Last of this module: the node does not come back."""
    pair[1].kill()
    asked = prompts(1, LENGTH, seed=280)
    given, taken = parameters()
    assert prefill.generate(asked, 12, given)["tokens"] == plain(asked)
    answer = decode.generate(asked, params=taken)
    assert answer["cached"] == [0]
    assert answer["tokens"] == plain(asked)
    assert set(decode.ask("held").values()) == set(prefill.ask("held").values()) == {0}
