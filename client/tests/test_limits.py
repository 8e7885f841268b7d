"""What happens at limits: of connections, descriptors, users, object sizes and disks; each on a node of its own."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import NAMESPACE
from kvasir_ops import home
from kvasir_ops.testing import Node, until
from test_node import fresh_keys, fresh_pages

from kvasir import Client, DeadlineExceededError, KvasirError, SlotStatus, UnauthenticatedError
from kvasir import _engine_pb2 as pb

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CONNECTIONS = 10_000
NOBODY = 65_534


def descriptors(node: Node) -> int:
    return len(os.listdir(f"/proc/{node.pid}/fd"))


def connected(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(30)
    end = time.monotonic() + 30
    while True:
        try:
            connection.connect(path)
            return connection
        except BlockingIOError:  # the queue of those that the node has not accepted is full
            assert time.monotonic() < end
            time.sleep(0.001)


def answer(connection: socket.socket) -> pb.Response:
    (length,) = struct.unpack("<I", connection.recv(4, socket.MSG_WAITALL))
    return pb.Response.FromString(connection.recv(length, socket.MSG_WAITALL))


def test_ten_thousand_connections_are_answered_or_told_that_there_are_too_many() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < CONNECTIONS + 200:
        pytest.skip(f"this process may open {hard} descriptors only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    request = pb.Request(id=1, ping=pb.Ping(payload=b"x")).SerializeToString()
    ping = struct.pack("<I", len(request)) + request
    allowed = CONNECTIONS // 2
    settings = {"engine": {"max_connections": allowed, "stall_limit": "60s"}}
    opened: list[socket.socket] = []
    try:
        with (
            Node(settings=settings) as node,
            Client.connect(node.socket, namespace=NAMESPACE, deadline=20.0) as bystander,
        ):
            keys, pages = fresh_keys(4), fresh_pages(4, 4096)
            assert bystander.store(keys, pages).committed == 4
            before = descriptors(node)
            for number in range(CONNECTIONS):
                connection = connected(node.socket)
                opened.append(connection)
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before it could ask
                    connection.sendall(ping)
                if number % 1000 == 0:
                    assert bystander.ping(b"still") == b"still"
            served = refused = 0
            for connection in opened:
                response = answer(connection)
                served += response.ping.payload == b"x"
                refused += response.error.code == pb.Error.RESOURCE_EXHAUSTED
            assert (served, refused) == (allowed - 1, CONNECTIONS - allowed + 1)
            back = np.zeros_like(pages)
            assert bystander.load_prefix(keys, back).leading_chunks == 4
            assert (back == pages).all()
            for connection in opened:
                connection.close()
            until(lambda: descriptors(node) <= before, "the node closes what was closed")
            with Client.connect(node.socket, namespace=NAMESPACE) as late:
                assert late.ping(b"space again") == b"space again"
    finally:
        for connection in opened:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_node_without_descriptors_serves_whom_it_has_and_recovers(own_node: Node) -> None:
    with Client.connect(own_node.socket, namespace=NAMESPACE, deadline=10.0) as client:
        keys, pages = fresh_keys(16), fresh_pages(16, 4096)
        assert client.store(keys, pages).committed == 16
        limits = resource.prlimit(own_node.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(own_node.pid, resource.RLIMIT_NOFILE, (descriptors(own_node), limits[1]))
        with pytest.raises(KvasirError) as refused:
            Client.connect(own_node.socket, namespace=NAMESPACE, attach_deadline=1.0)
        assert isinstance(refused.value, DeadlineExceededError | ConnectionError), refused.value
        for _ in range(20):
            back = np.zeros_like(pages)
            assert client.load_prefix(keys, back).leading_chunks == 16
            assert (back == pages).all()
            assert client.store(fresh_keys(4), pages[:4]).committed == 4
        assert "cannot be accepted" in own_node.log.read_text()
        resource.prlimit(own_node.pid, resource.RLIMIT_NOFILE, limits)
        with Client.connect(own_node.socket, namespace=NAMESPACE) as late:
            assert late.lookup(keys).hit_chunks == 16


def as_nobody(work: Callable[[], None]) -> int:
    """Runs ``work`` in a child with another uid; 0 when it raised nothing."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            work()
            status = 0
        except BaseException as error:
            print(f"in the child: {error!r}", file=sys.stderr)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_another_tenant_and_cannot_read_the_first_ones_memory(own_node: Node) -> None:
    for place in (Path(own_node.socket).parent, Path(own_node.socket).parent / "dram"):
        place.chmod(0o711)
    with Client.connect(own_node.socket, namespace=NAMESPACE, deadline=10.0) as mine:
        keys, pages = fresh_keys(2), fresh_pages(2, 4096)
        assert mine.store(keys, pages).committed == 2
        tenant = mine.attachment.tenant
        regions = [path for path in Path(own_node.socket).parent.rglob("*") if path.is_file() and path.stat().st_size]

        def other() -> None:
            with Client.connect(own_node.socket, namespace=NAMESPACE, deadline=10.0) as theirs:
                assert theirs.attachment.tenant != tenant
                assert theirs.lookup(keys).hit_chunks == 0
                assert theirs.store(keys, 255 - pages).committed == 2
                back = np.zeros_like(pages)
                assert theirs.load_prefix(keys, back).leading_chunks == 2
                assert (back == 255 - pages).all()
            readable = []
            for path in regions:
                with contextlib.suppress(PermissionError):
                    path.open("rb").close()
                    readable.append(path)
            assert all(path.suffix == ".lock" for path in readable), readable

        assert as_nobody(other) == 0
        back = np.zeros_like(pages)
        assert mine.load_prefix(keys, back).leading_chunks == 2
        assert (back == pages).all()
        assert mine.attachment.tenant == tenant


def test_tokens_decide_about_the_tenant() -> None:
    tenants = [
        {"name": "red", "user": os.geteuid(), "token": "the token of red"},
        {"name": "blue", "user": os.geteuid(), "token": "the token of blue"},
    ]
    with Node(settings={"tenants": tenants}) as node:
        with (
            Client.connect(node.socket, namespace=NAMESPACE, token=b"the token of red", deadline=10.0) as red,
            Client.connect(node.socket, namespace=NAMESPACE, token=b"the token of blue", deadline=10.0) as blue,
        ):
            assert (red.attachment.tenant, blue.attachment.tenant) == ("red", "blue")
            keys, pages = fresh_keys(2), fresh_pages(2, 4096)
            assert red.store(keys, pages).committed == 2
            assert red.lookup(keys).hit_chunks == 2
            assert blue.lookup(keys).hit_chunks == 0
        for wrong in (b"", b"the token of green", b"the token of re"):
            with pytest.raises(UnauthenticatedError):
                Client.connect(node.socket, namespace=NAMESPACE, token=wrong, attach_deadline=5.0)


@pytest.mark.parametrize("length", [70_000_001, 1 << 30])
def test_objects_up_to_a_gibibyte_come_back_as_they_were(length: int) -> None:
    with (
        Node(
            settings={
                "dram": {"capacity": "1088MiB", "region": "32MiB"},
                "reserve": {"quota": "1088MiB"},
                "lease": {"quota": 1.0},
            }
        ) as node,
        Client.connect(node.socket, namespace=NAMESPACE, deadline=60.0) as client,
    ):
        bytes_ = np.arange(length // 8 + 1, dtype=np.uint64).view(np.uint8)[:length]
        key = fresh_keys(1)
        stored = client.store(key, [bytes_], wait=30.0)
        assert stored.statuses.tolist() == [SlotStatus.COMMITTED]
        bytes_[:] = 0
        loaded = client.load_prefix(key, [bytes_], wait=30.0)
        assert (loaded.leading_chunks, loaded.bytes) == (1, length)
        expected = np.arange(length // 8 + 1, dtype=np.uint64).view(np.uint8)[:length]
        assert (bytes_ == expected).all()


def test_an_object_above_a_gibibyte_is_refused(own_node: Node) -> None:
    with Client.connect(own_node.socket, namespace=NAMESPACE, deadline=10.0) as client:
        place = [(0x1000, (1 << 30) + 1)]
        with pytest.raises(KvasirError, match="lengths"):
            client.store(fresh_keys(1), place)


def test_a_full_ssd_costs_hits_and_nothing_else(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "none", str(small)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        settings = {
            "dram": {"capacity": "32MiB", "region": "2MiB"},
            "ssd": {"directory": str(small / "ssd"), "capacity": "512MiB", "extent": "8MiB"},
        }
        with Node(settings=settings) as node, Client.connect(node.socket, namespace=NAMESPACE, deadline=20.0) as client:
            keys, pages = fresh_keys(128), fresh_pages(128, 1 << 20)
            stored = 0
            for row in range(0, 128, 8):
                stored += client.store(keys[32 * row : 32 * (row + 8)], pages[row : row + 8], wait=5.0).committed
            assert stored == 128
            assert client.ping(b"here") == b"here"
            hits = 0
            for row in range(128):
                back = np.zeros((1, 1 << 20), dtype=np.uint8)
                if client.load_prefix(keys[32 * row : 32 * (row + 1)], back, wait=2.0).leading_chunks:
                    hits += 1
                    assert (back[0] == pages[row]).all()
            assert 16 <= hits < 128
            fresh = fresh_keys(4)
            assert client.store(fresh, pages[:4], wait=5.0).committed == 4
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


TORCH = """
import sys, torch
from kvasir import Client, InvalidArgumentError, Namespace
with Client.connect(sys.argv[1], namespace=Namespace("torch", chunk_tokens=16), deadline=20.0) as client:
    keys = [bytes([n]) * 32 for n in range(8)]
    pages = torch.randn(8, 2, 1024).to(torch.bfloat16)
    assert client.store(keys, pages).committed == 8
    back = torch.zeros_like(pages)
    assert client.load_prefix(keys, back).leading_chunks == 8
    assert torch.equal(back.view(torch.int16), pages.view(torch.int16))
    rows = [torch.zeros(2, 1024, dtype=torch.bfloat16) for _ in keys]
    assert client.load_prefix(keys, rows).leading_chunks == 8
    assert torch.equal(torch.stack(rows).view(torch.int16), pages.view(torch.int16))
    try:
        client.load_prefix(keys, [row.t() for row in rows])
    except InvalidArgumentError:
        print("all right")
"""


def test_torch_tensors_are_sources_and_destinations(own_node: Node) -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kvasir"
    found = "import importlib.util as u, sys; sys.exit(not (u.find_spec('torch') and u.find_spec('numpy')))"
    pythons = [
        python
        for python in sorted(cache.glob("environments/*/bin/python"))
        if subprocess.run([str(python), "-c", found], check=False).returncode == 0
    ]
    if not pythons:
        pytest.skip(f"no environment in {cache} has torch and numpy")
    environment = os.environ | {"PYTHONPATH": f"{home()}/client/src"}
    done = subprocess.run(
        [str(pythons[0]), "-c", TORCH, own_node.socket], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "all right", done.stderr
