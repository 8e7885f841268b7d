"""What is stored, under vLLM's real schedulers: what fits, what was left out, and what was computed without a node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kvasir_ops.testing import MIB, Node, until
from test_stepping import settle, tokens

pytestmark = [pytest.mark.engine, pytest.mark.integration]

CHUNK = 64


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with Node(dram=64 * MIB, ssd=512 * MIB, region=4 * MIB) as started:
        yield started


class Orders:
    """Counts the chunks whose store a harness's worker is given, and steps until all of them are stored."""

    def __init__(self, harness: Any) -> None:
        self.harness = harness
        self.keys: list[bytes] = []
        side = harness.worker._worker
        inner = side.store

        def noting(orders: Any) -> None:
            self.keys += [order.keys[at : at + 32] for order in orders for at in range(0, len(order.keys), 32)]
            inner(orders)

        side.store = noting

    def run(self, name: str, prompt: list[int], generated: int = 1) -> int:
        """Computes a prompt to its end; how many of its chunks were to be stored."""
        before = len(self.keys)
        self.harness.add(name, prompt, generated)
        while self.harness.scheduler.has_requests() or self.harness._queue:
            self.harness.step()
            until(lambda: self.harness.worker._worker._in_flight == 0, "stores and loads have ended", 20)
        return len(self.keys) - before


def harness_of(model: Path, node: Node, **changes: Any) -> Any:
    from stepping import Harness

    return Harness(model, node.socket, **changes)


def loaded(harness: Any, name: str, prompt: list[int]) -> int:
    """Tokens that are loaded for a prompt once the engine's own cache is empty."""
    harness.forget()
    side = harness.connector._scheduler
    before: int = side.offered_tokens
    harness.add(name, prompt, 1)
    harness.run()
    return int(side.offered_tokens - before)


def attached(harness: Any) -> int:
    """The session, once the scheduler's half has one with a node that answers."""
    lookups = harness.connector._scheduler._lookups
    until(lambda: lookups.identity is not None, "the engine has a node", 30)
    return int(lookups.identity.session)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["Scheduler", "AsyncScheduler"])
def test_prompt_that_is_long_for_the_pinned_share_is_stored_as_far_as_it_fits(
    model: Path, node: Node, asynchronous: bool
) -> None:
    # A quarter of 100 blocks may be pinned: 12 chunks of the 31 that one step computes.
    harness = harness_of(
        model, node, blocks=100, batched=2048, asynchronous=asynchronous, delay=int(asynchronous)
    )  # fmt: skip
    try:
        short = tokens(2000, f"long, nothing generated {asynchronous}")
        assert Orders(harness).run("short", short) >= 12
        assert loaded(harness, "short again", short) >= 12 * CHUNK
        # As long as the request has its blocks, the rest follows, step by step.
        long = tokens(2000, f"long, much generated {asynchronous}")
        Orders(harness).run("long", long, 40)
        assert loaded(harness, "long again", long) == 31 * CHUNK
        settle(harness)
    finally:
        harness.close()


def test_what_was_left_out_is_stored_at_its_next_use(model: Path, node: Node) -> None:
    harness = harness_of(model, node, blocks=100, batched=2048)
    try:
        orders = Orders(harness)
        prompt = tokens(2000, "left out")
        first = orders.run("first", prompt)
        assert 12 <= first < 31
        left_out = harness.connector._scheduler.stores_left_out
        assert left_out > 0
        orders.run("second", prompt, 40)
        assert orders.run("third", prompt) == 0
        assert len(set(orders.keys[: first + 31])) >= 31
        assert loaded(harness, "again", prompt) == 31 * CHUNK
        settle(harness)
    finally:
        harness.close()


def test_chunk_that_is_larger_than_the_pinned_share_is_stored_alone(model: Path, node: Node) -> None:
    harness = harness_of(model, node, blocks=100, extra={"max_pinned_share": 0.01})
    try:
        prompt = tokens(300, "one block may be pinned")
        Orders(harness).run("first", prompt, 20)
        assert loaded(harness, "again", prompt) == 4 * CHUNK
        settle(harness)
    finally:
        harness.close()


@pytest.mark.parametrize("asynchronous", [False, True], ids=["Scheduler", "AsyncScheduler"])
def test_what_was_computed_without_a_node_is_stored_at_its_next_use_and_once(model: Path, asynchronous: bool) -> None:
    with Node(dram=64 * MIB, ssd=0, region=4 * MIB) as late:
        late.kill()
        harness = harness_of(model, late, asynchronous=asynchronous, delay=int(asynchronous))
        try:
            orders = Orders(harness)
            system = tokens(500, "system prompt")
            assert orders.run("without a node", system) == 0
            late.start()
            attached(harness)
            # The engine has 7 chunks itself; 2 of the question are new.
            question = system[:448] + tokens(150, "question")
            assert orders.run("with a node", question) == 9
            assert orders.run("again", question) == 0
            assert orders.run("another question", system[:448] + tokens(150, "another")) == 2
            assert loaded(harness, "loaded", system) == 7 * CHUNK
            settle(harness)
        finally:
            harness.close()


def test_node_that_lost_everything_is_given_what_the_engine_has(model: Path) -> None:
    with Node(dram=64 * MIB, ssd=0, region=4 * MIB) as lost:
        harness = harness_of(model, lost)
        try:
            orders = Orders(harness)
            prompt = tokens(500, "lost")
            assert orders.run("first", prompt) == 7
            assert orders.run("in the same session", prompt) == 0
            before = attached(harness)
            lost.stop()
            lost.start()
            until(lambda: attached(harness) != before, "the engine has another session", 30)
            assert orders.run("in the next session", prompt) == 7
            assert orders.run("and only once", prompt) == 0
            assert loaded(harness, "loaded", prompt) == 7 * CHUNK
            # What was loaded is known to be there, too.
            assert orders.run("after the load", prompt) == 0
            settle(harness)
        finally:
            harness.close()


def test_store_that_failed_is_done_at_a_later_use(model: Path, node: Node) -> None:
    harness = harness_of(model, node)
    try:
        orders = Orders(harness)
        side = harness.worker._worker
        inner = side._store_now

        def failing(*_: Any) -> Any:
            raise RuntimeError("the bytes did not go")

        side._store_now = failing
        prompt = tokens(500, "failed store")
        assert orders.run("fails", prompt) == 7
        side._store_now = inner
        turn = 0

        def stored() -> bool:
            nonlocal turn
            turn += 1
            return orders.run(f"later {turn}", prompt) == 7

        until(stored, "the pause is over, and the chunks are stored", 20)
        assert orders.run("and not again", prompt) == 0
        assert loaded(harness, "loaded", prompt) == 7 * CHUNK
        settle(harness)
    finally:
        harness.close()


def test_what_was_computed_before_a_new_generation_is_not_stored_in_it(model: Path) -> None:
    with Node(dram=64 * MIB, ssd=0, region=4 * MIB) as late:
        late.kill()
        harness = harness_of(model, late)
        try:
            orders = Orders(harness)
            old = tokens(500, "old weights")
            assert orders.run("without a node", old) == 0
            # A request that runs meanwhile keeps vLLM from emptying its own cache.
            harness.add("running", tokens(100, "running"), 200)
            for _ in range(3):
                harness.step()
            harness.scheduler.reset_prefix_cache(reset_connector=True)
            late.start()
            attached(harness)
            assert harness.scheduler.get_num_unfinished_requests() == 1
            assert orders.run("in the new generation", old) == 0
            settle(harness)
        finally:
            harness.close()


def test_new_session_closes_the_breaker_of_stores(model: Path) -> None:
    with Node(dram=64 * MIB, ssd=0, region=4 * MIB) as gone:
        harness = harness_of(model, gone, extra={"store_timeout": 2.0, "load_timeout": 2.0})
        try:
            from kvasir.engine.breaker import Breaker

            orders = Orders(harness)
            orders.run("before", tokens(200, "before the outage"))
            side = harness.worker._worker
            # No time passes for it: it stays open, unless somebody closes it.
            side._breaker = Breaker(clock=lambda: 0.0)
            before = attached(harness)
            gone.kill()
            number = 0
            while not side._breaker.is_open:
                number += 1
                orders.run(f"during {number}", tokens(200, f"during the outage {number}"))
                assert number < 20, "stores go on without a node"
            gone.start()
            until(lambda: attached(harness) != before, "the engine has another session", 30)
            prompt = tokens(200, "after the outage")
            orders.run("after", prompt)
            assert loaded(harness, "loaded", prompt) == 3 * CHUNK
            settle(harness)
        finally:
            harness.close()
