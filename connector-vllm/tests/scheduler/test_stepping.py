"""The connector under vLLM's real schedulers: no wrong block, no request that is lost, nothing that stays held."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kvasir_ops.testing import MIB, Node, until

pytestmark = [pytest.mark.engine, pytest.mark.integration]


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with Node(dram=64 * MIB, ssd=512 * MIB, region=4 * MIB) as started:
        yield started


@pytest.fixture(params=["Scheduler", "AsyncScheduler"])
def harness(request: pytest.FixtureRequest, model: Path, node: Node) -> Iterator[Any]:
    from stepping import Harness

    asynchronous = request.param == "AsyncScheduler"
    made = Harness(model, node.socket, asynchronous=asynchronous, delay=1 if asynchronous else 0)
    yield made
    made.close()


def tokens(count: int, seed: object) -> list[int]:
    chosen = random.Random(str(seed))
    return [chosen.randrange(1000) for _ in range(count)]


def test_second_run_loads_what_the_first_stored(harness: Any) -> None:
    prompts = {f"p{number}": tokens(500, f"second {number} {harness.asynchronous}") for number in range(4)}
    for name, prompt in prompts.items():
        harness.add(name, prompt)
    harness.run()
    harness.forget()
    offered = harness.connector._scheduler.offered_tokens
    for name, prompt in prompts.items():
        harness.add(f"{name} again", prompt)
    harness.run()
    assert harness.connector._scheduler.offered_tokens - offered == 4 * 448
    settle(harness)


def settle(harness: Any) -> None:
    """Leases go back on another thread."""
    until(lambda: not any(harness.held().values()), f"everything is given back: {harness.held()}", 10)


def test_zeroed_blocks_would_be_noticed(harness: Any) -> None:
    from stepping import WrongBytesError

    prompt = tokens(500, f"zeros {harness.asynchronous}")
    harness.add("first", prompt)
    harness.run()
    harness.forget()
    side = harness.worker._worker
    inner = side._load_now

    def zeroing(order: Any, *arguments: Any) -> Any:
        bad = inner(order, *arguments)
        harness.pages[list(order.blocks[0])] = 0
        return bad

    side._load_now = zeroing
    harness.add("again", prompt)
    with pytest.raises(WrongBytesError):
        harness.run()


def test_aborted_while_it_waits_and_while_it_loads(harness: Any) -> None:
    prompt = tokens(500, f"abort {harness.asynchronous}")
    harness.add("first", prompt)
    harness.run()
    harness.forget()
    for number in range(20):
        name = f"abort {number}"
        harness.add(name, prompt)
        for _ in range(number % 5):
            harness.step()
        harness.abort(name)
    harness.run()
    settle(harness)


def test_failed_first_block_is_not_asked_for_again(harness: Any) -> None:
    prompt = tokens(500, f"fails {harness.asynchronous}")
    harness.add("first", prompt)
    harness.run()
    harness.forget()
    side = harness.worker._worker

    def failing(*_: Any) -> Any:
        raise RuntimeError("the bytes did not come")

    side._load_now = failing
    harness.add("again", prompt)
    steps = harness.steps
    harness.run(400)
    assert harness.finished["again"]
    assert harness.connector._scheduler.failed_loads == 1
    assert harness.steps - steps < 400
    settle(harness)


def test_requests_that_wait_hold_no_more_than_they_may(model: Path, node: Node) -> None:
    from stepping import Harness

    harness = Harness(model, node.socket, blocks=40, extra={"max_waiting_tokens": 2000})
    try:
        for number in range(12):
            harness.add(f"first {number}", tokens(600, f"cap {number}"))
        harness.run()
        harness.forget()
        most = 0
        for number in range(12):
            harness.add(f"again {number}", tokens(600, f"cap {number}"))
        while harness.scheduler.has_requests():
            harness.step()
            most = max(most, harness.held()["waiting_tokens"])
        assert 0 < most <= 2000
        settle(harness)
    finally:
        harness.close()


def test_leases_of_requests_that_wait_are_renewed(model: Path, node: Node) -> None:
    from stepping import Harness

    harness = Harness(model, node.socket, extra={"lease_seconds": 1.5})
    try:
        prompt = tokens(500, "renewed")
        harness.add("first", prompt)
        harness.run()
        harness.forget()
        harness.add("again", prompt)
        lookup = harness.connector._scheduler._tracked["again"].lookup
        until(lambda: lookup.done, "the answer is there")
        given = lookup.lease.expires_at
        until(lambda: time.monotonic() > given + 0.2, "the lease would have ended", 10)
        assert lookup.usable
        offered = harness.connector._scheduler.offered_tokens
        harness.run()
        assert harness.connector._scheduler.offered_tokens - offered == 448
        settle(harness)
    finally:
        harness.close()


@pytest.mark.slow
@pytest.mark.parametrize("asynchronous", [False, True], ids=["Scheduler", "AsyncScheduler"])
def test_thousand_requests_with_random_faults(model: Path, node: Node, asynchronous: bool) -> None:
    """Shared prefixes, a cache too small for them, aborts, failing loads, and a node that is killed and paused."""
    from stepping import Harness

    chosen = random.Random(f"thousand {asynchronous}")
    prefixes = [tokens(chosen.randrange(100, 900), f"prefix {asynchronous} {number}") for number in range(40)]
    harness = Harness(
        model, node.socket, blocks=150, asynchronous=asynchronous, delay=int(asynchronous),
        extra={"lookup_timeout": 0.5, "load_timeout": 5.0, "store_timeout": 2.0},
    )  # fmt: skip
    side: Any = harness.worker._worker
    inner = side._load_now

    def unreliable(order: Any, *arguments: Any) -> Any:
        if chosen.random() < 0.05:
            raise RuntimeError("the bytes did not come")
        return inner(order, *arguments)

    side._load_now = unreliable
    added, resume_at = 0, 0
    while added < 1000 or harness.scheduler.has_requests():
        while added < 1000 and len(harness.scheduler.requests) < 12:
            own = tokens(chosen.randrange(1, 200), f"own {added}")
            harness.add(f"r{added}", chosen.choice(prefixes) + own, chosen.randrange(1, 6))
            added += 1
            if added % 250 == 100:
                node.kill()
                node.start()
            if added % 250 == 225:
                node.pause()
                resume_at = harness.steps + 40
            if added % 250 in (125, 249):
                if resume_at:
                    node.resume()
                    resume_at = 0
                loads_again(harness, added)
        if resume_at and harness.steps >= resume_at:
            node.resume()
            resume_at = 0
        if chosen.random() < 0.02 and harness.scheduler.requests:
            harness.abort(chosen.choice(list(harness.scheduler.requests)))
        harness.step()
    if resume_at:
        node.resume()
    harness.run()
    names = {name for name in harness.finished if name.startswith("r")}
    assert len(names) == 1000
    assert {harness.finished[name] for name in names} <= {"length", "aborted"}
    assert harness.connector._scheduler.offered_tokens > 10_000
    assert harness.connector._scheduler.failed_loads > 3
    settle(harness)
    harness.close()


def loads_again(harness: Any, seed: int) -> None:
    """Steps until something is loaded: the node is back, and the breakers have closed."""
    end = time.monotonic() + 60
    side = harness.connector._scheduler
    known = tokens(300, f"probe {seed} {harness.asynchronous}")
    offered, number = side.offered_tokens, 0
    while side.offered_tokens == offered:
        assert time.monotonic() < end, "nothing is loaded any more"
        number += 1
        name = f"probe {seed} {number}"
        harness.add(name, known, 1)
        while name not in harness.finished:
            harness.step()
        if side.has_pending_stores or number % 8 == 0:
            harness.scheduler.reset_prefix_cache()
