"""A real engine gives the same tokens whether its KV was computed or loaded, wherever it was loaded from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import prompts
from engine_process import Engine, transfer
from kvasir import Client, Tier
from kvasir_ops.testing import MIB, Node, until

pytestmark = [pytest.mark.engine, pytest.mark.integration]

Plain = Callable[..., list[list[int]]]
LOADED = 768  # of 900 tokens: whole chunks of 256


def run_one_by_one(engine: Engine, asked: list[list[int]]) -> tuple[list[list[int]], list[int], list[list[str]]]:
    """Tokens, tokens that were not computed, and pages of whole chunks, of prompts that run alone."""
    tokens, cached, pages = [], [], []
    for prompt in asked:
        answer = engine.generate([prompt])
        tokens += answer["tokens"]
        cached += answer["cached"]
        pages += [digests[: LOADED // 32] for digests in engine.ask("pages")]
    return tokens, cached, pages


def test_warm_from_dram(engine: Engine, plain: Plain) -> None:
    asked = prompts(3, seed=1)
    cold_tokens, cold_cached, cold_pages = run_one_by_one(engine, asked)
    engine.forget()
    tokens, cached, pages = run_one_by_one(engine, asked)
    assert cold_cached == [0, 0, 0]
    assert cached == [LOADED] * 3
    assert cold_tokens == tokens == plain(asked)
    assert all(all(digests) for digests in cold_pages)
    assert pages == cold_pages


def test_many_at_once(engine: Engine, plain: Plain) -> None:
    asked = prompts(6, seed=2)
    engine.generate(asked)
    engine.forget()
    answer = engine.generate(asked)
    assert answer["cached"] == [LOADED] * 6
    assert answer["tokens"] == plain(asked)


def test_conversation_loads_what_it_generated_before(engine: Engine, plain: Plain) -> None:
    asked = prompts(1, 500, seed=3)
    first = engine.generate(asked, 300)["tokens"][0]
    engine.forget()
    turn = [asked[0] + first + prompts(1, 40, seed=4)[0]]
    answer = engine.generate(turn)
    assert answer["cached"] == [768]
    assert answer["tokens"] == plain(turn)


def test_local_hit_that_ends_in_a_chunk_is_continued_and_not_overwritten(engine: Engine, plain: Plain) -> None:
    asked = prompts(1, seed=5)
    engine.generate(asked)
    engine.forget()
    head = [asked[0][:400]]
    engine.generate(head)  # loads a chunk, and computes 12 blocks in all
    _, _, before = run_one_by_one(engine, head)
    answer = engine.generate(asked)
    assert answer["cached"] == [LOADED]
    assert answer["tokens"] == plain(asked)
    assert engine.ask("pages")[0][:12] == before[0][:12]


def test_prompt_shorter_than_a_chunk_never_hits(engine: Engine, plain: Plain) -> None:
    asked = prompts(1, 255, seed=6)
    engine.generate(asked)
    engine.forget()
    answer = engine.generate(asked)
    assert answer["cached"] == [0]
    assert answer["tokens"] == plain(asked)


def test_warm_from_ssd(model: Path, plain: Plain, tmp_path: Path) -> None:
    # DRAM holds 64 chunks: what was stored first is on SSD alone once 31 prompts of three chunks were.
    with (
        Node(dram=32 * MIB, ssd=512 * MIB, region=4 * MIB) as small,
        Engine(model, tmp_path / "engine.log", transfer(small.socket)) as engine,
    ):
        asked = prompts(1, seed=7)
        cold_tokens, _, cold_pages = run_one_by_one(engine, asked)
        for batch in range(5):
            engine.generate(prompts(6, seed=70 + batch), 1)
            engine.ask("drain")
        engine.forget()
        with Client.connect(small.socket, deadline=5.0) as client:
            before = promotions(client)
            tokens, cached, pages = run_one_by_one(engine, asked)
            assert promotions(client) > before
    assert cached == [LOADED]
    assert tokens == cold_tokens == plain(asked)
    assert pages == cold_pages


def promotions(client: Client) -> int:
    """How often something came back into DRAM, from the node's own events."""
    events, after = 0, 0
    while batch := client.events(after).events:
        events += sum(event.kind == "STORED" and event.tier == Tier.DRAM for event in batch)
        after = batch[-1].sequence
    return events


def _attached_since(engine: Engine) -> bool:
    probe = prompts(1, 300, seed=99)
    engine.generate(probe)
    engine.forget()
    return bool(engine.generate(probe)["cached"] == [256])


def test_warm_after_the_node_was_killed(engine: Engine, node: Node, plain: Plain) -> None:
    asked = prompts(2, seed=8)
    _, _, cold_pages = run_one_by_one(engine, asked)
    engine.forget()
    node.kill()
    node.start()
    until(lambda: _attached_since(engine), "the engine attaches again")
    tokens, cached, pages = run_one_by_one(engine, asked)
    assert cached == [LOADED] * 2
    assert tokens == plain(asked)
    assert pages == cold_pages


def test_across_two_engines(engine: Engine, node: Node, model: Path, plain: Plain, tmp_path: Path) -> None:
    asked = prompts(2, seed=9)
    _, _, cold_pages = run_one_by_one(engine, asked)
    with Engine(model, tmp_path / "other.log", transfer(node.socket)) as other:
        tokens, cached, pages = run_one_by_one(other, asked)
    assert cached == [LOADED] * 2
    assert tokens == plain(asked)
    assert pages == cold_pages


def test_other_weights_share_nothing(node: Node, tmp_path: Path) -> None:
    from tinymodel import write_model

    asked = prompts(1, seed=1)  # stored by the first test with the other weights
    with Engine(write_model(tmp_path / "tiny", seed=2), tmp_path / "other.log", transfer(node.socket)) as other:
        assert other.generate(asked)["cached"] == [0]


def test_new_generation_forgets_what_was_stored(engine: Engine, plain: Plain) -> None:
    asked = prompts(1, seed=10)
    engine.generate(asked)
    assert engine.ask("new_generation")
    answer = engine.generate(asked)
    assert answer["cached"] == [0]
    engine.forget()
    answer = engine.generate(asked)
    assert answer["cached"] == [LOADED]
    assert answer["tokens"] == plain(asked)


def test_nothing_is_held_when_no_request_is_there(engine: Engine) -> None:
    assert set(engine.ask("held").values()) == {0}


def test_loading_zeros_would_be_noticed(engine: Engine, plain: Plain) -> None:
    """Last of this module: the engine is not to be trusted afterwards."""
    asked = prompts(2, seed=11)
    engine.generate(asked)
    engine.forget()
    engine.ask("load_zeros")
    answer = engine.generate(asked)
    assert answer["cached"] == [LOADED] * 2
    assert answer["tokens"] != plain(asked)
