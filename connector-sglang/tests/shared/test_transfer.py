"""Transfers to a real node, on plain memory; the engine's side is not needed for what is tested here."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from bounded import calls
from kvasir import Deadline, DeadlineExceededError, Lease, Namespace, NodeUnavailableError, Pieces
from kvasir.engine import leases as leases_module
from kvasir.engine.breaker import FAILURES
from kvasir_ops.testing import Node, until

from kvasir_sglang.shared import transfer as transfer_module
from kvasir_sglang.shared.connection import Connection, LoadGate
from kvasir_sglang.shared.identity import NO_PARENT, Ranks
from kvasir_sglang.shared.options import EngineOptions
from kvasir_sglang.shared.pages import Destination
from kvasir_sglang.shared.transfer import FIRST_PAUSE_S, LONGEST_PAUSE_S, PoolPlace, Transfer

BYTES = 4096
LONG = 10_000


def rows(array: Any) -> Pieces:
    count, size = array.shape
    base = array.ctypes.data
    return Pieces(
        np.arange(count, dtype=np.int64),
        np.zeros(count, dtype=np.uint64),
        np.array([base + row * size for row in range(count)], dtype=np.uint64),
        np.full(count, size, dtype=np.uint64),
    )


class Side:
    """One engine's way to the node."""

    def __init__(self, socket: str, page_bytes: int = BYTES, **options: Any) -> None:
        self.options = EngineOptions(socket=socket, **options)
        self.connection = Connection(self.options, Ranks().shard(False), "test")
        self.transfer = Transfer(self.options)
        self.place = PoolPlace(self.connection, Namespace("transfer-test", 64), page_bytes)

    def store(self, keys: bytes, pages: Any, deadline_ms: int = LONG) -> Any:
        stored = np.zeros(len(keys) // 32, dtype=bool)
        return self.transfer.bounded(
            "store",
            deadline_ms,
            lambda end: self.transfer.store(
                "store", self.place, keys, lambda a, b: (rows(pages[a:b]), pages), NO_PARENT, stored, end
            ),
            stored,
        )

    def load(self, keys: bytes, pages: Any, deadline_ms: int = LONG, *, sparse: bool = False) -> Any:
        return self.transfer.bounded(
            "load",
            deadline_ms,
            lambda end: self.transfer.load("load", self.place, keys, Destination(rows(pages)), end, sparse=sparse),
            np.zeros(len(keys) // 32, dtype=bool),
        )

    def close(self) -> None:
        self.transfer.close()
        self.connection.close()


@pytest.fixture
def side(node: Node) -> Iterator[Side]:
    side = Side(node.socket)
    assert side.connection.wait(10)
    yield side
    side.close()


def fresh(count: int, size: int = BYTES) -> tuple[bytes, Any]:
    return os.urandom(32 * count), np.frombuffer(os.urandom(count * size), dtype=np.uint8).reshape(count, size)


@pytest.mark.integration
def test_pages_come_back(side: Side) -> None:
    keys, pages = fresh(5)
    back = np.zeros_like(pages)
    assert side.store(keys, pages).all()
    assert side.load(keys, back).all()
    assert (back == pages).all()


@pytest.mark.integration
def test_loading_ends_at_the_first_page_that_is_missing_unless_it_is_sparse(side: Side) -> None:
    keys, pages = fresh(4)
    back = np.zeros_like(pages)
    side.store(keys[:32], pages[:1])
    side.store(keys[64:], pages[2:])
    assert side.load(keys, back).tolist() == [True, False, False, False]
    assert side.load(keys, back, sparse=True).tolist() == [True, False, True, True]
    assert (back[[0, 2, 3]] == pages[[0, 2, 3]]).all()


@pytest.mark.integration
def test_a_backup_goes_in_slices(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_module, "STORE_SLICE_BYTES", 2 * BYTES)
    keys, pages = fresh(5)
    back = np.zeros_like(pages)
    assert side.store(keys, pages).all()
    assert side.load(keys, back).all()
    assert (back == pages).all()
    assert side.transfer.stores.take()[0] == [2, 2, 1]


@pytest.mark.integration
def test_what_was_stored_before_a_slice_failed_is_reported(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_module, "STORE_SLICE_BYTES", 2 * BYTES)
    keys, pages = fresh(5)
    stored = np.zeros(5, dtype=bool)

    def sources(first: int, end: int) -> Any:
        if first == 2:
            raise RuntimeError("the pool broke")
        return rows(pages[first:end]), pages

    done = side.transfer.bounded(
        "store", LONG, lambda end: side.transfer.store("s", side.place, keys, sources, NO_PARENT, stored, end), stored
    )
    assert done.tolist() == [True, True, False, False, False]


@pytest.mark.integration
def test_it_connects_once_there_is_a_node(own_node: Node) -> None:
    own_node.kill()
    side = Side(own_node.socket)
    keys, pages = fresh(1)
    assert not side.connection.wait(0.1)
    assert not side.store(keys, pages).any()
    own_node.start()
    assert side.connection.wait(30)
    assert side.store(keys, pages).all()
    side.close()
    until(lambda: not side.load(keys, np.zeros_like(pages)).any(), "a closed connection only misses")
    until(lambda: not any(t.name == "kvasir-connect" for t in threading.enumerate()), "its thread ends")


@pytest.mark.integration
def test_what_was_found_is_loaded_under_its_lease_batch_by_batch(own_node: Node) -> None:
    side = Side(own_node.socket)
    assert side.connection.wait(10)
    keys, pages = fresh(6)
    back = np.zeros_like(pages)
    side.store(keys, pages)
    assert side.transfer.leading(side.place, keys + fresh(1)[0], Deadline.after(10)) == 6
    own_node.pause()
    assert side.load(keys[: 4 * 32], back[:4], 1000).all()
    assert side.load(keys[4 * 32 :], back[4:], 1000).all()
    assert (back == pages).all()
    assert not side.load(keys, back, 100).any(), "the lease was given back with its last page"
    own_node.resume()
    until(lambda: bool(side.load(keys, back).all()), "the node answers again")
    side.close()


@pytest.mark.integration
def test_questions_without_a_load_do_not_pile_up_leases(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases_module, "MOST_KEPT", 2)
    keys, pages = fresh(8)
    side.store(keys, pages)
    leases = []
    hold = side.transfer._leases.keep

    def note(namespace: Namespace, named: bytes, lease: Lease) -> None:
        leases.append(lease)
        hold(namespace, named, lease)

    monkeypatch.setattr(side.transfer._leases, "keep", note)
    for page in range(8):
        side.transfer.leading(side.place, keys[page * 32 : (page + 1) * 32], Deadline.after(10))
    until(lambda: sum(lease.alive for lease in leases) == 2, "older leases are given back")


@pytest.mark.integration
def test_a_lease_that_no_load_came_for_is_given_back_when_its_time_is_over(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer_module, "HOLD_SECONDS", 0.2)
    released: list[int] = []
    release = Lease.release

    def note(lease: Lease) -> None:
        released.append(lease.id)
        release(lease)

    monkeypatch.setattr(Lease, "release", note)
    keys, pages = fresh(2)
    side.store(keys, pages)
    assert side.transfer.leading(side.place, keys, Deadline.after(10)) == 2
    assert not released
    until(lambda: len(released) == 1, "the lease is given back without another call")


@pytest.mark.integration
def test_a_question_asked_again_does_not_count_twice_against_the_quota(own_node: Node) -> None:
    side = Side(own_node.socket, page_bytes=1 << 20)
    assert side.connection.wait(10)
    # The quota is half of DRAM; two leases of 80 of its 256 MiB would exceed it.
    keys = fresh(80)[0]
    assert side.store(keys, np.zeros((80, 1 << 20), dtype=np.uint8)).all()
    assert [side.transfer.leading(side.place, keys, Deadline.after(10)) for _ in range(4)] == [80] * 4
    side.close()


@pytest.mark.integration
def test_a_load_of_more_pages_than_were_leased_takes_the_rest_as_well(side: Side) -> None:
    keys, pages = fresh(6)
    side.store(keys[: 4 * 32], pages[:4])
    assert side.transfer.leading(side.place, keys, Deadline.after(10)) == 4
    side.store(keys[4 * 32 :], pages[4:])
    back = np.zeros_like(pages)
    assert side.load(keys, back).all()
    assert (back == pages).all()


@pytest.mark.parametrize(
    ("error", "name"),
    [(RuntimeError("x"), "internal"), (NodeUnavailableError("x"), "unavailable"), (MemoryError(), "internal")],
)
def test_whatever_fails_inside_is_counted_and_a_miss(error: Exception, name: str) -> None:
    transfer = Transfer(EngineOptions())
    before = calls("call", name)

    def fail(end: Deadline) -> int:
        raise error

    assert transfer.bounded("call", LONG, fail, -1) == -1
    assert calls("call", name) == before + 1


def test_after_some_calls_that_waited_in_vain_the_next_are_misses_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    transfer = Transfer(EngineOptions())
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    transfer._breaker._clock = lambda: now[0]
    asked = []

    def silent(end: Deadline) -> int:
        asked.append(now[0])
        now[0] = end.at + 0.001
        raise DeadlineExceededError("nobody answers")

    for _ in range(10):
        transfer.bounded("call", 10, silent, 0)
    assert len(asked) == FAILURES
    now[0] += FIRST_PAUSE_S
    for _ in range(10):
        transfer.bounded("call", 10, silent, 0)
    assert len(asked) == FAILURES + 1
    now[0] += LONGEST_PAUSE_S
    assert transfer.bounded("call", 10, lambda end: 7, 0) == 7
    assert transfer.bounded("call", 10, lambda end: 8, 0) == 8


def test_what_fails_at_once_does_not_open_the_breaker() -> None:
    transfer = Transfer(EngineOptions())
    asked = []

    def refused(end: Deadline) -> int:
        asked.append(1)
        raise NodeUnavailableError("no node")

    for _ in range(10):
        transfer.bounded("call", LONG, refused, 0)
    assert len(asked) == 10


def test_a_backup_waits_for_a_load_but_not_longer_than_its_bound() -> None:
    gate = LoadGate(0.05)
    with gate.load():
        begin = time.monotonic()
        gate.yield_to_loads(Deadline.after(10))
        assert time.monotonic() - begin >= 0.05
        begin = time.monotonic()
        gate.yield_to_loads(Deadline.after(-1))
        assert time.monotonic() - begin < 0.05
    patient = LoadGate(60)
    waited = threading.Event()
    with patient.load():

        def wait() -> None:
            patient.yield_to_loads(Deadline.after(60))
            waited.set()

        backup = threading.Thread(target=wait)
        backup.start()
        assert not waited.is_set()
    backup.join(30)
    assert waited.is_set()
