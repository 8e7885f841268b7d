"""Faults under SGLang's own radix cache: a load that counts is right, one that fails ends its requests and no more."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest
from kvasir_ops.testing import Node, until

pytestmark = [pytest.mark.engine, pytest.mark.integration]

pytest.importorskip("sglang", reason="runs in the environment of ./kvasir test --engines")

import numpy as np
import torch
from bounded import calls, timed
from conftest import DRAM
from controller import PAGE, hashes, parallel, tokens
from damage import damage, summed
from kvasir import Client
from linked import LinkedEngine
from restarts import through_restarts
from sglang.srt.mem_cache.hicache_storage import PoolName, PoolTransfer


@pytest.fixture(autouse=True, scope="module")
def one_rank() -> None:
    parallel()


@pytest.fixture
def engines(hasty: Any) -> Any:
    return partial(hasty, LinkedEngine)


def settle(engine: LinkedEngine, prompt: Any) -> list[bytes]:
    """The bytes of a prompt that is in the node, and nowhere else."""
    stored, wanted = engine.backup(prompt)
    assert stored == len(prompt)
    return wanted


def raw(engine: LinkedEngine) -> list[Any]:
    return [buffer.view(torch.uint8) for buffer in engine.buffers]


def whole(engine: LinkedEngine, prompt: Any) -> bool:
    """Whether all of a prompt is found; each look is another request's."""
    return bool(engine.request(prompt).host_hit_length == len(prompt))


def test_an_engine_starts_without_a_node_and_uses_it_once_it_is_there(own_node: Node, engines: Any) -> None:
    own_node.kill()
    engine, prompt = timed(lambda: engines(own_node, connect_wait_ms=100)), tokens(4)
    engine.compute(prompt)
    assert not timed(engine.stored)
    engine.forget()
    assert timed(lambda: engine.request(prompt)).host_hit_length == 0
    own_node.start()

    def stored() -> bool:
        engine.compute(prompt)
        done: bool = engine.stored()
        engine.forget()
        return done

    until(stored, "pages are stored")
    assert whole(engine, prompt)


def test_a_node_killed_before_the_copy_ends_the_request_or_loads_it_right(own_node: Node, engines: Any) -> None:
    engine, prompt = engines(own_node), tokens(8)
    wanted = settle(engine, prompt)
    req = engine.request(prompt)
    slots = engine.queue(req)
    own_node.kill()
    failed = timed(lambda: engine.forward(req))
    assert failed == [req] or engine.bytes_of(slots) == wanted
    engine.allocator.free(slots)
    assert timed(lambda: engine.request(tokens(2))).host_hit_length == 0
    own_node.start()
    until(lambda: whole(engine, prompt), "the pages are found again")
    engine.scramble()
    assert engine.prefetch(prompt) == wanted


def test_a_node_restarted_between_question_and_load_is_asked_again(own_node: Node, engines: Any) -> None:
    engine, prompt = engines(own_node), tokens(8)
    wanted = settle(engine, prompt)
    req = engine.request(prompt)
    slots = engine.queue(req)
    own_node.kill()
    own_node.start()
    until(lambda: not engine.linker._queued[req.rid].found.leases["kv"].alive, "the old lease is void")
    failed = timed(lambda: engine.forward(req))
    assert failed == [req] or engine.bytes_of(slots) == wanted


def test_a_paused_node_costs_deadlines_and_then_nothing(own_node: Node, engines: Any) -> None:
    engine, prompt = engines(own_node, exists_deadline_ms=300), tokens(8)
    wanted = settle(engine, prompt)
    req, later = engine.request(prompt), engine.request(prompt)
    slots = engine.queue(req)
    own_node.pause()
    # What was found is leased, and needs no answer.
    assert not timed(lambda: engine.forward(req))
    assert engine.bytes_of(slots) == wanted
    engine.allocator.free(slots)
    later_slots = engine.queue(later)
    for _ in range(20):
        assert timed(lambda: engine.request(tokens(2))).host_hit_length == 0
    assert calls("linker_lookup", "circuit_open") > 0
    # Not even then.
    assert not timed(lambda: engine.forward(later))
    assert engine.bytes_of(later_slots) == wanted
    engine.allocator.free(later_slots)
    own_node.resume()
    until(lambda: whole(engine, prompt), "the pages are found again")
    engine.scramble()
    assert engine.prefetch(prompt) == wanted


def test_a_load_past_its_deadline_ends_its_request_and_copies_no_more(own_node: Node, engines: Any) -> None:
    writer = engines(own_node, page=1024, pages=100, store_deadline_ms=5000)
    engine = engines(own_node, page=1024, pages=100, load_deadline_ms=1)
    prompt = tokens(90, 1024)
    settle(writer, prompt)
    before = calls("linker_load", "pages_gone")
    for _ in range(5):
        req = engine.request(prompt)
        assert req.host_hit_length == len(prompt)
        slots = engine.queue(req)
        assert timed(partial(engine.forward, req)) == [req]
        held = [buffer.clone() for buffer in raw(engine)]
        time.sleep(0.01)  # a copy that had not stopped would show
        assert all(torch.equal(now, then) for now, then in zip(raw(engine), held, strict=True))
        engine.allocator.free(slots)
    assert calls("linker_load", "pages_gone") == before + 5


def test_deadlines_of_a_millisecond_give_right_pages_or_none(own_node: Node, engines: Any) -> None:
    engine = engines(own_node, exists_deadline_ms=1, load_deadline_ms=1, store_deadline_ms=1, pages=160)
    writer = engines(own_node, pages=160)
    for _ in range(10):
        prompt = tokens(40)
        wanted = settle(writer, prompt)
        timed(partial(engine.backup, tokens(40)))
        assert timed(partial(engine.prefetch, prompt)) in ([], wanted)


def test_pages_that_went_to_ssd_are_brought_by_a_question_and_found_by_a_later_one(
    ssd_node: Node, engines: Any
) -> None:
    engine = engines(ssd_node, pages=110, store_deadline_ms=10_000, load_deadline_ms=10_000, page=1024)
    prompts = [tokens(100, 1024) for _ in range(4)]
    stored = [settle(engine, prompt) for prompt in prompts]
    assert len(prompts) * 100 * len(stored[0][0]) > DRAM
    for prompt, wanted in zip(prompts, stored, strict=True):
        until(partial(comes_back, engine, prompt, wanted), "all pages come back")


def comes_back(engine: LinkedEngine, prompt: Any, wanted: list[bytes]) -> bool:
    """Each look brings more pages into DRAM; what is loaded meanwhile is right."""
    loaded = engine.prefetch(prompt)
    assert loaded == wanted[: len(loaded)]
    return loaded == wanted


def test_an_object_of_another_size_is_never_found(node: Node, engines: Any) -> None:
    engine, prompt = engines(node), tokens(2)
    place = engine.linker._pools["kv"].place
    keys = b"".join(bytes.fromhex(key) for key in hashes(prompt))
    wrong = np.zeros((2, place.page_bytes + 64), dtype=np.uint8)
    with Client.connect(node.socket, namespace=place.namespace, shards=place.connection.client.shards) as client:
        assert client.store(keys, wrong).committed == 2
    assert engine.request(prompt).host_hit_length == 0
    assert calls("linker_lookup", "bad_pages") > 0


def test_with_verify_a_damaged_object_ends_its_request(own_node: Node, engines: Any) -> None:
    engine, prompt = engines(own_node, verify=True), tokens(6)
    wanted = settle(engine, prompt)
    place = engine.linker._pools["kv"].place
    until(lambda: summed(place, hashes(prompt)), "the node has summed the pages")
    assert damage(own_node.data_files(), wanted[2][:64]) == 1
    assert engine.prefetch(prompt) == []
    assert engine.prefetch(prompt[: 2 * PAGE]) == wanted[:2]


def test_slots_that_are_no_whole_pages_are_refused_by_every_rank(node: Node, engines: Any) -> None:
    engine, prompt = engines(node), tokens(3)
    settle(engine, prompt)
    whole_pages = torch.arange(PAGE, 4 * PAGE)
    for slots in (whole_pages + 1, whole_pages[:-1], whole_pages.flip(0), whole_pages + engine.pool.size):
        transfer = PoolTransfer(PoolName.KV, device_indices=slots, keys=hashes(prompt))
        assert not engine.linker.load("a request", [transfer])
    assert engine.linker.start_layer_wise_loading() == -1


@pytest.mark.slow
def test_restarts_in_the_middle_of_loads_never_give_a_wrong_byte(own_node: Node, engines: Any) -> None:
    engine = engines(own_node, pages=160)
    kept: list[tuple[Any, list[bytes]]] = []

    def one_round() -> int:
        prompt = tokens(30)
        wanted = engine.compute(prompt)
        if engine.stored():
            kept.append((prompt, wanted))
        engine.forget()
        pages = 0
        for prompt, wanted in kept[-3:]:
            loaded = timed(partial(engine.prefetch, prompt))
            assert loaded == wanted[: len(loaded)]
            pages += len(loaded)
        return pages

    through_restarts(own_node, one_round)
