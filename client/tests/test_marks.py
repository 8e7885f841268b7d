"""What a process says of its copies in its lock file, and what the node concludes from it."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import NAMESPACE
from kvasir_ops.testing import Node, until
from test_node import fresh_keys, fresh_pages

from kvasir import Client, Lease
from kvasir import _engine_pb2 as pb
from kvasir._lock import AttachmentLock
from kvasir.deadline import Deadline

LENGTH = 128
HEAD = b"KVASIRL1" + struct.pack("<I", 1)


def words(path: Path) -> tuple[int, int]:
    """``next`` and ``oldest``."""
    # Closing a descriptor of the file gives this process's lock up; nobody asks for it here.
    found: tuple[int, int] = struct.unpack("<QQ", path.read_bytes()[64:80])
    return found


def lock_on(path: Path, content: bytes) -> AttachmentLock:
    path.write_bytes(content)
    return AttachmentLock(path)


def test_a_mark_is_there_before_a_copy_and_goes_with_the_oldest(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = lock_on(path, HEAD.ljust(LENGTH, b"\0"))
    assert words(path) == (1, 1)
    first = lock.copies.begin()
    assert words(path) == (2, 1)
    second = lock.copies.begin()
    third = lock.copies.begin()
    assert words(path) == (4, 1)
    lock.copies.end(second)
    assert words(path) == (4, 1), "the first one runs still"
    lock.copies.end(first)
    assert words(path) == (4, 3)
    lock.copies.end(third)
    assert words(path) == (4, 4)
    lock.release()


@pytest.mark.parametrize("content", [b"", HEAD, b"KVASIRL2".ljust(LENGTH, b"\0")])
def test_a_lock_file_without_marks_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lock"
    lock = lock_on(path, content)
    lock.copies.end(lock.copies.begin())
    assert path.read_bytes() == content
    lock.release()


def test_nothing_is_said_after_the_lock_was_given_up(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = lock_on(path, HEAD.ljust(LENGTH, b"\0"))
    copy = lock.copies.begin()
    lock.release()
    lock.copies.end(copy)
    lock.copies.begin()
    assert words(path) == (2, 1)


def released(client: Client, lease: Lease) -> int:
    """How many leases the node still had of this one."""
    request = pb.Request(release=pb.Release(leases=[lease.id]))
    return client.attachment.wire.call(request, Deadline.after(10.0)).release.released


@pytest.mark.integration
def test_an_expired_lease_ends_unless_a_copy_under_it_may_run(node: Node) -> None:
    with (
        Client.connect(node.socket, namespace=NAMESPACE, deadline=10.0) as idle,
        Client.connect(node.socket, namespace=NAMESPACE, deadline=10.0) as busy,
    ):
        keys, pages = fresh_keys(2), fresh_pages(2, 4096)
        assert idle.store(keys, pages).committed == 2
        copy = busy.attachment.copies.begin()
        kept = busy.lookup(keys, lease_seconds=0.01)
        assert kept.hit_chunks == 2

        def has_ended() -> bool:
            lease = idle.lookup(keys, lease_seconds=0.01)
            assert lease.hit_chunks == 2
            time.sleep(0.5)
            return released(idle, lease) == 0

        until(has_ended, "a lease ends under which nobody copies")
        assert released(busy, kept) == 1
        busy.attachment.copies.end(copy)


@pytest.mark.integration
def test_a_load_looks_at_the_time_behind_its_mark(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client.connect(node.socket, namespace=NAMESPACE, deadline=10.0) as client:
        keys, pages = fresh_keys(1), fresh_pages(1, 4096)
        client.store(keys, pages)
        lease = client.lookup(keys)
        marks = client.attachment.copies
        begin = marks.begin

        def begin_late() -> int:
            number = begin()
            lease.expires_at = 0.0
            return number

        monkeypatch.setattr(marks, "begin", begin_late)
        assert not client.load(lease, np.zeros_like(pages)).loaded.any()
        assert not marks._running
