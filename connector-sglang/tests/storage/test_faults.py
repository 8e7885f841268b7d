"""Faults under SGLang's own controller. After each one its threads live, and what it counts as loaded is right."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from typing import Any

import pytest
from conftest import DRAM
from damage import damage, summed
from kvasir_ops.testing import Node, until

pytestmark = [pytest.mark.engine, pytest.mark.integration]

pytest.importorskip("sglang", reason="runs in the environment of ./kvasir test --engines")

import numpy as np
import torch
from bounded import calls, timed
from controller import PAGE, Engine, hashes, parallel, scramble, tokens
from kvasir import Client, Namespace, SlotStatus
from restarts import through_restarts

#: Of a page of 1024 tokens.
PAGE_BYTES = 1 << 20


@pytest.fixture(autouse=True, scope="module")
def one_rank() -> None:
    parallel()


@pytest.fixture
def engines(hasty: Any) -> Any:
    return partial(hasty, Engine)


def test_an_engine_starts_without_a_node_and_uses_it_once_it_is_there(own_node: Node, engines: Any) -> None:
    own_node.kill()
    engine = timed(lambda: engines(own_node, connect_wait_ms=100))
    prompt = tokens(4)
    assert timed(lambda: engine.backup(prompt))[0] == 0
    assert timed(lambda: engine.query(prompt)).storage_hit_count == 0
    own_node.start()
    until(lambda: bool(engine.backup(prompt)[0] == len(prompt)), "a backup succeeds")
    assert engine.query(prompt).storage_hit_count == len(prompt)


def test_a_killed_node_is_a_miss_and_its_pages_are_there_after_the_restart(own_node: Node, engines: Any) -> None:
    engine, prompt = engines(own_node), tokens(8)
    _, wanted = engine.backup(prompt)
    found = engine.query(prompt)
    own_node.kill()
    loaded = timed(lambda: engine.fetch(found))
    assert loaded == wanted[: len(loaded)]
    assert timed(lambda: engine.query(prompt)).storage_hit_count == 0
    assert timed(lambda: engine.backup(tokens(2)))[0] == 0
    own_node.start()
    until(lambda: engine.query(prompt).storage_hit_count == len(prompt), "the pages are found again")
    scramble(engine.pool)
    assert engine.prefetch(prompt) == wanted


def test_a_paused_node_costs_deadlines_and_then_nothing(own_node: Node, engines: Any) -> None:
    engine, prompt = engines(own_node), tokens(8)
    _, wanted = engine.backup(prompt)
    found = engine.query(prompt)
    own_node.pause()
    # What was found is leased, and needs no answer.
    assert timed(lambda: engine.fetch(found)) == wanted
    for _ in range(20):
        assert timed(lambda: engine.query(prompt)).storage_hit_count == 0
    assert calls("batch_exists", "circuit_open") > 0
    assert timed(lambda: engine.backup(tokens(2)))[0] == 0
    own_node.resume()
    until(lambda: engine.query(prompt).storage_hit_count == len(prompt), "the pages are found again")
    assert engine.prefetch(prompt) == wanted


@pytest.mark.slow
def test_restarts_in_the_middle_of_batches_never_give_a_wrong_byte(own_node: Node, engines: Any) -> None:
    engine = engines(own_node, pages=160)
    prompts: list[tuple[Any, list[bytes]]] = []

    def one_round() -> int:
        prompt = tokens(30)
        stored, wanted = engine.backup(prompt)
        if stored == len(prompt):
            prompts.append((prompt, wanted))
        pages = 0
        for prompt, wanted in prompts[-3:]:
            loaded = timed(partial(engine.prefetch, prompt))
            assert loaded == wanted[: len(loaded)]
            pages += len(loaded)
        return pages

    through_restarts(own_node, one_round)
    # Nothing stays held: the host pool is whole again, and a fresh prompt goes through.
    assert engine.pool.available_size() == engine.pool.size
    prompt = tokens(4)
    until(lambda: bool(engine.backup(prompt)[0] == len(prompt)), "a backup succeeds")


def test_deadlines_of_a_millisecond_give_right_pages_or_none(node: Node, engines: Any) -> None:
    engine = engines(node, exists_deadline_ms=1, load_deadline_ms=1, store_deadline_ms=1, pages=160)
    writer = engines(node, pages=160)
    for _ in range(10):
        prompt = tokens(40)
        _, wanted = writer.backup(prompt)
        timed(lambda: engine.backup(tokens(40)))
        loaded = timed(partial(engine.prefetch, prompt))
        assert loaded == wanted[: len(loaded)]


def test_nothing_writes_into_the_pool_once_a_load_has_returned(node: Node, engines: Any) -> None:
    engine = engines(node, load_deadline_ms=2, page=1024, pages=100)
    writer = engines(node, page=1024, pages=100, store_deadline_ms=5000)
    prompt = tokens(90, 1024)
    writer.backup(prompt)
    keys, indices = hashes(prompt, 1024), torch.arange(len(prompt))
    pool = engine.pool.kv_buffer.view(torch.uint8)
    for _ in range(10):
        assert not all(engine.storage.batch_get_v1(keys, indices)), "the deadline stopped nothing"
        before = pool.clone()
        time.sleep(0.01)
        assert torch.equal(pool, before)


def test_indices_that_are_no_whole_pages_of_the_pool_are_refused(node: Node, engines: Any) -> None:
    engine = engines(node)
    storage, keys = engine.storage, hashes(tokens(2))
    whole = torch.arange(2 * PAGE)
    assert storage.batch_set_v1(keys, whole) == [True, True]
    before = engine.pool.kv_buffer.view(torch.uint8).clone()
    refused = calls("batch_get_v1", "bad_pages")
    bad = {
        "too few": whole[:-1],
        "too many": torch.arange(3 * PAGE),
        "shifted": whole + 1,
        "backwards": whole.flip(0),
        "beyond the pool": whole + engine.pool.size - PAGE,
        "negative": whole - 2 * PAGE,
        "none": None,
        "page size of another pool": torch.arange(0, 2 * PAGE, 2),
    }
    for name, indices in bad.items():
        assert storage.batch_get_v1(keys, indices) == [False, False], name
        assert storage.batch_set_v1(hashes(tokens(2)), indices) == [False, False], name
    assert calls("batch_get_v1", "bad_pages") == refused + len(bad)
    assert torch.equal(engine.pool.kv_buffer.view(torch.uint8), before)


def test_an_object_of_another_size_is_never_loaded(node: Node, engines: Any) -> None:
    engine, prompt = engines(node), tokens(2)
    place = engine.storage._pools["kv"].place
    keys = b"".join(bytes.fromhex(key) for key in hashes(prompt))
    wrong = np.zeros((2, place.page_bytes + 64), dtype=np.uint8)
    with Client.connect(node.socket, namespace=place.namespace, shards=place.connection.client.shards) as client:
        assert client.store(keys, wrong).committed == 2
    before = engine.pool.kv_buffer.view(torch.uint8).clone()
    assert engine.storage.batch_get_v1(hashes(prompt), torch.arange(2 * PAGE)) == [False, False]
    assert torch.equal(engine.pool.kv_buffer.view(torch.uint8), before)


def test_objects_damaged_while_the_node_was_down_are_misses(own_node: Node, engines: Any) -> None:
    engine, prompt = engines(own_node), tokens(6)
    _, wanted = engine.backup(prompt)
    # The node sums what was stored beside the calls; a peek at the whole prompt does not wait for that.
    until(lambda: summed(engine.storage._pools["kv"].place, hashes(prompt)), "the node has summed the pages")
    own_node.kill()
    assert damage(own_node.data_files(), wanted[3][:64]) == 1
    own_node.start()
    until(lambda: engine.query(prompt).storage_hit_count > 0, "the pages are found again")
    assert engine.prefetch(prompt) == wanted[:3]


def test_with_verify_an_object_damaged_in_place_is_a_miss(own_node: Node, engines: Any) -> None:
    engine, prompt = engines(own_node, verify=True), tokens(6)
    _, wanted = engine.backup(prompt)
    until(lambda: summed(engine.storage._pools["kv"].place, hashes(prompt)), "the node has summed the pages")
    assert damage(own_node.data_files(), wanted[2][:64]) == 1
    assert engine.prefetch(prompt) == wanted[:2]


def test_pages_that_went_to_ssd_are_found_and_come_back(ssd_node: Node, engines: Any) -> None:
    engine = engines(ssd_node, pages=150, load_deadline_ms=10_000, store_deadline_ms=10_000, page=1024)
    prompts = [tokens(100, 1024) for _ in range(4)]
    stored = [engine.backup(prompt) for prompt in prompts]
    assert [count for count, _ in stored] == [len(prompt) for prompt in prompts]
    # More than fits in DRAM; which pages had to leave it is the node's choice.
    assert sum(_in_dram(engine, prompt) for prompt in prompts) * PAGE_BYTES <= DRAM
    assert 100 * len(prompts) * PAGE_BYTES > DRAM
    for prompt, (_, wanted) in zip(prompts, stored, strict=True):
        assert engine.query(prompt).storage_hit_count == len(prompt)
        # A tier that frees space may take longer than one load waits; what comes meanwhile is right.
        until(partial(_comes_back, engine, prompt, wanted), "all pages come back")


def test_the_question_alone_begins_to_bring_pages_into_dram(ssd_node: Node, engines: Any) -> None:
    engine = engines(ssd_node, pages=150, store_deadline_ms=10_000, page=1024)
    prompts = [tokens(100, 1024) for _ in range(4)]
    for prompt in prompts:
        engine.backup(prompt)
    there = {at: _in_dram(engine, prompt) for at, prompt in enumerate(prompts)}
    gone, before = min(there.items(), key=lambda each: each[1])
    assert before < 100
    assert engine.query(prompts[gone]).storage_hit_count == len(prompts[gone])
    until(lambda: _in_dram(engine, prompts[gone]) > before, "more pages are in DRAM")


def _in_dram(engine: Engine, prompt: Any) -> int:
    place = engine.storage._pools["kv"].place
    keys = b"".join(bytes.fromhex(key) for key in hashes(prompt, engine.page))
    found = place.connection.client.lookup(keys, namespace=place.namespace, peek=True, sparse=True)
    assert place.page_bytes == PAGE_BYTES
    return int((found.slots["status"] == SlotStatus.HIT).sum())


def _comes_back(engine: Engine, prompt: Any, wanted: list[bytes]) -> bool:
    loaded = engine.prefetch(prompt)
    assert loaded == wanted[: len(loaded)]
    return len(loaded) == len(wanted)


_OTHER_USER = """
import os, sys
from kvasir import Namespace
from kvasir_sglang.shared.identity import Ranks
from kvasir_sglang.shared.connection import Connection
from kvasir_sglang.shared.options import EngineOptions
from kvasir_sglang.shared.transfer import PoolPlace, Transfer
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
options = EngineOptions(socket=sys.argv[1])
connection = Connection(options, Ranks().shard(False), "another user")
connection.wait(5.0)
place = PoolPlace(connection, Namespace("shared", 64), 64)
transfer = Transfer(options)
print(transfer.bounded("batch_exists", 5000, lambda end: transfer.leading(place, bytes(32), end), 0))
connection.close()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_another_user_finds_nothing_of_this_one(node: Node) -> None:
    os.chmod(node.places.shared_memory, 0o755)
    with Client.connect(node.socket, namespace=Namespace("shared", 64)) as client:
        client.store([bytes(32)], [bytes(64)])

    def found_as(user: int) -> str:
        command = [sys.executable, "-c", _OTHER_USER, node.socket, str(user)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert found_as(0) == "1"
    assert found_as(65534) == "0"
