"""The blocking face against a real node."""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from conftest import NAMESPACE
from kvasir_ops.testing import Node, until

from kvasir import (
    Client,
    ClosedError,
    Deadline,
    InvalidArgumentError,
    Namespace,
    Pieces,
    Shard,
    SlotStatus,
    Tier,
    UnknownLeaseError,
    UnknownNamespaceError,
    UnknownSessionError,
)

pytestmark = pytest.mark.integration
Bytes = npt.NDArray[np.uint8]


def fresh_keys(count: int) -> bytes:
    return os.urandom(32 * count)


def fresh_pages(count: int, size: int) -> Bytes:
    return np.random.default_rng().integers(0, 256, (count, size), dtype=np.uint8)


@pytest.mark.parametrize("size", [4096, 5000, 65536, 1 << 20, 64 << 20])
def test_what_was_stored_is_loaded(client: Client, size: int) -> None:
    count = 2 if size > 1 << 20 else 9
    keys, pages = fresh_keys(count), fresh_pages(count, size)
    stored = client.store(keys, pages, crc32c=True, chunk_index=0)
    assert (stored.statuses == SlotStatus.COMMITTED).all()
    back = np.zeros_like(pages)
    with client.lookup(keys) as lease:
        assert lease.hit_chunks == count
        assert lease.plan[0].status == "HIT"
        assert lease.plan[0].tier == Tier.DRAM
        result = client.load(lease, back, verify=True)
    assert result.leading_chunks == count
    assert result.bytes == count * size
    assert (back == pages).all()


def test_a_lookup_ends_at_the_first_miss_unless_it_is_sparse(client: Client) -> None:
    keys, pages = fresh_keys(4), fresh_pages(4, 4096)
    present = keys[:32] + keys[64:]
    client.store(present, pages[[0, 2, 3]])
    with client.lookup(keys) as lease:
        assert lease.slots.shape == (1, 1)
    back = np.zeros_like(pages)
    with client.lookup(keys, sparse=True) as lease:
        assert lease.hit_chunks == 3
        result = client.load(lease, back)
    assert result.loaded[:, 0].tolist() == [True, False, True, True]
    assert (back[[0, 2, 3]] == pages[[0, 2, 3]]).all()
    assert not back[1].any()


def test_gathers_and_scatters_pieces_of_objects(client: Client) -> None:
    keys = fresh_keys(2)
    pool = fresh_pages(8, 4096)
    page = [pool.ctypes.data + 4096 * n for n in range(8)]
    sources = [[(4096, page[1], 4096), (0, page[6], 4096)], [(0, page[3], 8192)]]
    assert client.store(keys, sources).committed == 2
    out = np.zeros(3 * 4096, np.uint8)
    base = out.ctypes.data
    pieces = Pieces(
        np.array([0, 0, 1]), np.array([4096, 0, 2048]), np.array([base, base + 4096, base + 8192]), np.full(3, 4096)
    )
    with client.lookup(keys) as lease:
        assert client.load(lease, pieces).leading_chunks == 2
    assert (out[:4096] == pool[1]).all()
    assert (out[4096:8192] == pool[6]).all()
    assert (out[8192:] == pool[3:5].reshape(-1)[2048:6144]).all()


def test_a_chunk_is_a_hit_when_all_shards_are_there(node: Node) -> None:
    shards = [Shard(head_begin=rank, head_end=rank + 1) for rank in range(2)]
    with Client.connect(node.socket, namespace=NAMESPACE, shards=shards, deadline=10.0) as client:
        keys, pages = fresh_keys(3), fresh_pages(6, 4096)
        client.store(keys, pages[0::2], shard=0)
        with client.lookup(keys) as lease:
            assert lease.hit_chunks == 0
        client.store(keys, pages[1::2], shard=1)
        back = np.zeros_like(pages)
        assert client.load_prefix(keys, back).loaded.shape == (3, 2)
        assert (back == pages).all()
        one = np.zeros_like(pages[:3])
        assert client.load_prefix(keys, one, shards=[1]).leading_chunks == 3
        assert (one == pages[1::2]).all()


def test_two_writers_of_one_key_leave_one_copy(node: Node) -> None:
    keys, pages = fresh_keys(8), fresh_pages(8, 65536)
    statuses: list[list[int]] = []

    def write() -> None:
        with Client.connect(node.socket, namespace=NAMESPACE, deadline=10.0) as client:
            statuses.append(client.store(keys, pages).statuses.tolist())

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    for pair in zip(*statuses, strict=True):
        assert sorted(pair)[1] == SlotStatus.COMMITTED
        assert sorted(pair)[0] in (SlotStatus.EXISTS, SlotStatus.IN_FLIGHT)


def _worker(socket: str, session: int, secret: bytes, lease: int, pipe: Connection) -> None:
    out = np.zeros((3, 4096), np.uint8)
    with Client.join(socket, session, secret, deadline=10.0) as client, client.resolve(lease, [1]) as mine:
        result = client.load(mine, out)
    pipe.send((result.leading_chunks, out.tobytes(), len(client_shards(client))))


def client_shards(client: Client) -> tuple[Shard, ...]:
    """Of a client that was closed: nothing knows any more what it was."""
    try:
        return client.shards
    except ClosedError:
        return ()


def test_a_worker_joins_and_loads_its_shard_of_the_schedulers_lease(node: Node) -> None:
    shards = [Shard(head_begin=rank, head_end=rank + 1) for rank in range(2)]
    with Client.connect(node.socket, namespace=NAMESPACE, shards=shards, deadline=10.0) as client:
        keys, pages = fresh_keys(3), fresh_pages(6, 4096)
        client.store(keys, pages[0::2], shard=0)
        client.store(keys, pages[1::2], shard=1)
        lease = client.lookup(keys)
        here, there = multiprocessing.get_context("spawn").Pipe()
        worker = multiprocessing.get_context("spawn").Process(
            target=_worker, args=(node.socket, client.session, client.secret, lease.hand_over(), there)
        )
        worker.start()
        assert here.poll(60)
        leading, loaded, _ = here.recv()
        worker.join(30)
        assert leading == 3
        assert loaded == pages[1::2].tobytes()
        with client.resolve(lease.id, [0]) as rest:
            assert rest.hit_chunks == 3
        with pytest.raises(UnknownLeaseError):
            client.resolve(lease.id)


def test_a_wrong_secret_joins_nothing(client: Client, node: Node) -> None:
    with pytest.raises(UnknownSessionError):
        Client.join(node.socket, client.session, bytes(16))


def test_a_released_lease_loads_nothing_more(client: Client) -> None:
    keys, pages = fresh_keys(1), fresh_pages(1, 4096)
    client.store(keys, pages)
    with client.lookup(keys) as lease:
        assert client.renew([lease], 60.0) == [True]
    assert not client.load(lease, np.zeros_like(pages)).loaded.any()
    assert client.renew([lease]) == [False]


def test_a_peek_leases_nothing(client: Client) -> None:
    keys, pages = fresh_keys(2), fresh_pages(2, 4096)
    client.store(keys, pages)
    lease = client.lookup(keys, peek=True)
    assert (lease.id, lease.hit_chunks) == (0, 2)
    assert not client.load(lease, np.zeros_like(pages)).loaded.any()


def test_pins_and_events_name_the_objects(client: Client) -> None:
    keys, pages = fresh_keys(2), fresh_pages(2, 4096)
    before = client.events(limit=100_000).events
    after = before[-1].sequence if before else 0
    client.store(keys, pages)
    batch = client.events(after, wait=5.0)
    assert [(event.kind, event.key) for event in batch.events][:2] == [("STORED", keys[:32]), ("STORED", keys[32:])]
    assert batch.node
    assert len(batch.incarnation) == 16
    assert client.pin(keys, ttl=60.0) == 2
    assert client.unpin(keys) == 2


def test_namespaces_keep_bytes_apart(client: Client) -> None:
    keys, pages = fresh_keys(1), fresh_pages(1, 4096)
    other = Namespace("another", chunk_tokens=256, extra={"a": "b"})
    client.store(keys, pages, namespace=other)
    assert client.lookup(keys).hit_chunks == 0
    assert client.load_prefix(keys, np.zeros_like(pages), namespace=other).leading_chunks == 1


def test_bad_arguments_are_refused_and_harm_nothing(client: Client, node: Node) -> None:
    keys, pages = fresh_keys(2), fresh_pages(2, 4096)
    with pytest.raises(InvalidArgumentError, match="multiple"):
        client.lookup(keys[:-1])
    with pytest.raises(InvalidArgumentError, match="gap"):
        client.store(keys, pages[:1])
    with pytest.raises(InvalidArgumentError):
        client.store(keys, pages, shard=7)
    with pytest.raises(InvalidArgumentError):
        client.pin(keys, ttl=0.0)
    with Client.connect(node.socket) as bare, pytest.raises(UnknownNamespaceError):
        bare.lookup(keys)
    assert client.store(keys, pages).committed == 2


def test_a_store_past_its_deadline_gives_its_slots_back(client: Client) -> None:
    keys, pages = fresh_keys(2), fresh_pages(2, 1 << 20)

    class Late(Deadline):
        """Long for the node; over as soon as copying begins."""

        def millis(self) -> int:
            return 5000

        def remaining(self) -> float:
            return 5.0

    statuses = client.store(keys, pages, deadline=Late(0.0)).statuses
    assert (statuses == SlotStatus.ABORTED).all()
    assert client.store(keys, pages).committed == 2


def test_many_threads_share_a_client(client: Client) -> None:
    failures: list[str] = []

    def work(seed: int) -> None:
        for turn in range(10):
            keys, pages = fresh_keys(4), fresh_pages(4, 20_000)
            client.store(keys, pages)
            back = np.zeros_like(pages)
            if client.load_prefix(keys, back).leading_chunks != 4 or not (back == pages).all():
                failures.append(f"{seed}/{turn}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures


def test_several_copying_threads_load_the_same_bytes(node: Node) -> None:
    with Client.connect(node.socket, namespace=NAMESPACE, copy_threads=3, deadline=10.0) as client:
        keys, pages = fresh_keys(7), fresh_pages(7, 300_000)
        client.store(keys, pages)
        back = np.zeros_like(pages)
        assert client.load_prefix(keys, back).leading_chunks == 7
        assert (back == pages).all()


def _resources() -> tuple[int, int]:
    maps = Path("/proc/self/maps").read_text()
    return len(os.listdir("/proc/self/fd")), maps.count("/dev/shm/kvasir-test-")


def test_attaching_and_closing_leaks_nothing(node: Node) -> None:
    keys, pages = fresh_keys(1), fresh_pages(1, 4096)
    with Client.connect(node.socket, namespace=NAMESPACE, deadline=10.0) as client:
        client.store(keys, pages)
    descriptors, mappings = _resources()
    for _ in range(50):
        with Client.connect(node.socket, namespace=NAMESPACE, deadline=10.0) as client:
            client.store(fresh_keys(1), pages)
            assert client.load_prefix(keys, np.zeros_like(pages)).leading_chunks == 1
    assert _resources() == (descriptors, mappings)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 and later
def test_a_forked_child_is_refused_and_harms_nothing(client: Client) -> None:
    keys, pages = fresh_keys(1), fresh_pages(1, 4096)
    client.store(keys, pages)
    lease = client.lookup(keys)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = b""
        try:
            client.ping()
        except Exception as error:
            said += type(error).__name__.encode() + b" "
        said += str(client.load(lease, np.zeros_like(pages)).loaded.any()).encode()
        client.close()
        os.write(writing, said)
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100) == b"ForkedError False"
    os.close(reading)
    os.close(writing)
    back = np.zeros_like(pages)
    assert client.load(lease, back).leading_chunks == 1
    assert (back == pages).all()
    until(lambda: client.ping(b"x") == b"x", "the parent's attachment goes on")
