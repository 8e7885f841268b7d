"""Whatever happens to the node: every request ends with the right tokens, and the log says once what is wrong."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import prompts
from engine_process import QUICK, Engine, transfer
from kvasir_ops.testing import MIB, Node, until

pytestmark = [pytest.mark.engine, pytest.mark.integration]

Plain = Callable[..., list[list[int]]]


def right(engine: Engine, plain: Plain, asked: list[list[int]]) -> list[int]:
    """Runs prompts and checks their tokens; returns how many tokens of each were not computed."""
    answer = engine.generate(asked)
    assert answer["finish"] == ["length"] * len(asked)
    assert answer["tokens"] == plain(asked)
    cached: list[int] = answer["cached"]
    return cached


def alone(engine: Engine) -> bool:
    """Whether the engine's log says that it has no node."""
    return engine.log.count("no node to work with") > engine.log.count("there is a node again")


def works_again(engine: Engine) -> None:
    """Stores and loads a prompt, within the time in which a breaker probes."""

    def warm() -> bool:
        probe = prompts(1, 300, seed=time.monotonic_ns())
        engine.generate(probe)
        engine.forget()
        return bool(engine.generate(probe)["cached"] == [256])

    until(warm, "the engine loads again", 60)


@pytest.mark.one_version
def test_node_that_is_paused_costs_a_deadline_and_then_nothing(hasty_engine: Engine, node: Node, plain: Plain) -> None:
    asked = prompts(2, seed=30)
    right(hasty_engine, plain, asked)
    hasty_engine.forget()
    node.pause()
    try:
        assert right(hasty_engine, plain, asked) == [0, 0]
        # The breaker is open, or opens soon: most requests do not wait for the node at all.
        for number in range(4):
            right(hasty_engine, plain, prompts(1, seed=31 + number))
    finally:
        node.resume()
    works_again(hasty_engine)


def test_node_that_is_killed_under_load_and_started_again(hasty_engine: Engine, node: Node, plain: Plain) -> None:
    asked = prompts(2, seed=40)
    right(hasty_engine, plain, asked)
    hasty_engine.forget()
    until(lambda: not alone(hasty_engine), "the engine has its node")
    said = hasty_engine.log.count("no node to work with")
    node.kill()
    assert right(hasty_engine, plain, asked) == [0, 0]
    hasty_engine.forget()
    until(lambda: alone(hasty_engine), "the log says that there is no node")
    assert hasty_engine.log.count("no node to work with") == said + 1
    node.start()
    works_again(hasty_engine)
    until(lambda: not alone(hasty_engine), "the log says that the node is back")


def test_holder_that_always_says_hit_and_always_fails(hasty_engine: Engine, plain: Plain) -> None:
    asked = prompts(8, 600, seed=50)
    right(hasty_engine, plain, asked)
    hasty_engine.forget()
    hasty_engine.ask("fail_loads", on=True)
    before = hasty_engine.ask("counts")["failed_loads"]
    for prompt in asked:
        right(hasty_engine, plain, [prompt])
    failed = hasty_engine.ask("counts")["failed_loads"] - before
    # Three failures open the breaker; the rest are computed without asking, but for a probe now and then.
    assert 3 <= failed < len(asked)
    assert hasty_engine.log.count("loads fail one after the other") == 1
    hasty_engine.ask("fail_loads", on=False)
    works_again(hasty_engine)


@pytest.mark.one_version
def test_arena_that_is_full(model: Path, plain: Plain, tmp_path: Path) -> None:
    # Space for 32 chunks, and no SSD; every batch needs 18.
    with (
        Node(dram=16 * MIB, ssd=0, region=2 * MIB) as small,
        Engine(model, tmp_path / "engine.log", transfer(small.socket, **QUICK)) as engine,
    ):
        for batch in range(3):
            right(engine, plain, prompts(6, seed=60 + batch))
        assert set(engine.ask("held").values()) == {0}


def test_objects_that_were_damaged_on_ssd(model: Path, plain: Plain, tmp_path: Path) -> None:
    asked = prompts(2, seed=70)
    with (
        Node(dram=32 * MIB, ssd=512 * MIB, region=4 * MIB) as small,
        Engine(model, tmp_path / "engine.log", transfer(small.socket)) as engine,
    ):
        right(engine, plain, asked)
        for batch in range(5):
            engine.generate(prompts(6, seed=700 + batch), 1)
            engine.ask("drain")
        engine.forget()
        damage(small.ssd)
        right(engine, plain, asked)
        assert set(engine.ask("held").values()) == {0}


def damage(place: Path) -> None:
    """Flips a byte in every 4 KiB of every extent."""
    extents = list(place.rglob("*.extent"))
    assert extents
    for file in extents:
        with file.open("r+b") as opened:
            for at in range(100, file.stat().st_size, 4096):
                opened.seek(at)
                byte = opened.read(1)
                opened.seek(at)
                opened.write(bytes([byte[0] ^ 0xFF]))


@pytest.mark.one_version
def test_deadline_of_a_millisecond(model: Path, node: Node, plain: Plain, tmp_path: Path) -> None:
    short = transfer(node.socket, lookup_timeout=0.001, load_timeout=0.001, store_timeout=0.001)
    with Engine(model, tmp_path / "engine.log", short) as engine:
        asked = prompts(3, seed=80)
        for _ in range(3):
            right(engine, plain, asked)
            engine.forget()
        assert set(engine.ask("held").values()) == {0}


@pytest.mark.one_version
def test_socket_that_is_not_there(model: Path, plain: Plain, tmp_path: Path) -> None:
    with Engine(model, tmp_path / "engine.log", transfer(str(tmp_path / "nobody.sock"))) as engine:
        assert right(engine, plain, prompts(2, seed=90)) == [0, 0]
        assert engine.log.count("no node to work with") == 1


@pytest.mark.one_version
def test_wrong_token(model: Path, node: Node, plain: Plain, tmp_path: Path) -> None:
    with Engine(model, tmp_path / "engine.log", transfer(node.socket, token="not the secret")) as engine:
        right(engine, plain, prompts(1, seed=91))


def test_random_faults_leave_nothing_behind(hasty_engine: Engine, node: Node, plain: Plain) -> None:
    chosen = random.Random(7)
    known = prompts(6, 600, seed=100)
    for turn in range(12):
        match turn % 4:
            case 1:
                node.pause()
            case 2:
                node.resume()
            case 3:
                node.kill()
                node.start()
        right(hasty_engine, plain, chosen.sample(known, 2))
        hasty_engine.forget()
    works_again(hasty_engine)
    assert set(hasty_engine.ask("held").values()) == {0}
