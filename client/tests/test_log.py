"""Whoever reads a node's log may stop: nobody else waits for that."""

from __future__ import annotations

import os

from kvasir_ops.testing import MIB, Node

from kvasir import Client


def fill(pipe: int) -> None:
    """Until it takes not one byte more."""
    for size in (4096, 1):
        try:
            while True:
                os.write(pipe, b"x" * size)
        except BlockingIOError:
            pass


def test_a_log_that_nobody_reads_holds_up_no_engine(node: Node) -> None:
    assert node.is_running  # Built: the launcher has nothing to say any more.
    unread = Node(64 * MIB)
    os.mkfifo(unread.places.log)
    pipe = os.open(unread.places.log, os.O_RDWR | os.O_NONBLOCK)
    try:
        with unread:
            fill(pipe)
            for _ in range(50):
                with Client.connect(unread.socket, deadline=5.0, attach_deadline=5.0) as client:
                    assert client.ping(b"here") == b"here"
    finally:
        os.close(pipe)
