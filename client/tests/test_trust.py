"""What engines cannot do to the node and to other users; each on a node of its own."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from conftest import NAMESPACE
from kvasir_ops.node_process import NodeFailedError
from kvasir_ops.testing import Node, cluster, until
from test_limits import as_nobody
from test_node import fresh_keys, fresh_pages

from kvasir import Client, KvasirError

pytestmark = [pytest.mark.integration, pytest.mark.slow]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def reachable(node: Node) -> Node:
    """Its directories can be passed through by others, as those of an installed node."""
    for place in (Path(node.socket).parent, node.dram.parent, node.dram):
        place.chmod(0o711)
    return node


def own_files(node: Node, client: Client, suffix: str) -> list[Path]:
    return sorted((node.dram / "tenants" / client.attachment.tenant).glob(f"*{suffix}"))


@needs_root
def test_an_engine_that_truncates_its_region_loses_it_and_nobody_else(own_node: Node) -> None:
    reachable(own_node)
    with Client.connect(own_node.socket, namespace=NAMESPACE, deadline=10.0) as mine:
        keys, pages = fresh_keys(8), fresh_pages(8, 1 << 20)
        assert mine.store(keys, pages).committed == 8

        def hostile() -> None:
            theirs = Client.connect(own_node.socket, namespace=NAMESPACE, deadline=10.0)
            lost = fresh_keys(16)
            assert theirs.store(lost, fresh_pages(16, 1 << 20)).committed == 16
            for path in own_files(own_node, theirs, ".data"):
                os.truncate(path, 0)
            until(lambda: theirs.lookup(lost).hit_chunks == 0, "the objects are misses")
            anew, bytes_anew = fresh_keys(2), fresh_pages(2, 1 << 20)
            assert theirs.store(anew, bytes_anew, wait=5.0).committed == 2
            back = np.zeros_like(bytes_anew)
            assert theirs.load_prefix(anew, back).leading_chunks == 2
            assert (back == bytes_anew).all()

        assert as_nobody(hostile) == 0
        back = np.zeros_like(pages)
        assert mine.load_prefix(keys, back, verify=True).leading_chunks == 8
        assert (back == pages).all()
    log = own_node.log.read_text()
    assert "tenant nobody has 0 of" in log
    assert "other regions are as they were" in log


@needs_root
def test_an_engine_of_another_user_goes_on_after_a_restart(own_node: Node) -> None:
    reachable(own_node)
    keys, pages = fresh_keys(4), fresh_pages(4, 65536)

    def stores() -> None:
        with Client.connect(own_node.socket, namespace=NAMESPACE, deadline=10.0) as client:
            assert client.store(keys, pages).committed == 4

    def loads_and_stores() -> None:
        with Client.connect(own_node.socket, namespace=NAMESPACE, deadline=10.0, attach_deadline=10.0) as client:
            back = np.zeros_like(pages)
            assert client.load_prefix(keys, back, wait=5.0).leading_chunks == 4
            assert (back == pages).all()
            # Another size: a region that this node makes.
            anew, other = fresh_keys(2), fresh_pages(2, 200_000)
            assert client.store(anew, other, wait=5.0).committed == 2
            again = np.zeros_like(other)
            assert client.load_prefix(anew, again).leading_chunks == 2
            assert (again == other).all()

    assert as_nobody(stores) == 0
    for end in (own_node.kill, own_node.stop):
        end()
        own_node.start()
        assert as_nobody(loads_and_stores) == 0


def test_a_process_that_gave_its_lock_up_loses_its_connection(own_node: Node) -> None:
    with Client.connect(own_node.socket, namespace=NAMESPACE, deadline=10.0) as client:
        keys, pages = fresh_keys(4), fresh_pages(4, 65536)
        assert client.store(keys, pages).committed == 4
        attachment = client.attachment
        (lock,) = own_files(own_node, client, ".lock")
        # A POSIX record lock ends with any descriptor of its file that the process closes.
        os.close(os.open(lock, os.O_RDWR))

        def attached_anew() -> bool:
            with contextlib.suppress(KvasirError):
                client.ping(b"who is there")
            return client.attachment is not attachment

        until(attached_anew, "the node ends the connection")
        back = np.zeros_like(pages)
        assert client.load_prefix(keys, back).leading_chunks == 4
        assert (back == pages).all()
        until(lambda: lock not in own_files(own_node, client, ".lock"), "nothing of the old attachment stays")
    until(lambda: "its process has ended or gave it up" in own_node.log.read_text(), "the log says why")


@needs_root
@pytest.mark.parametrize("place", ["dram", "socket"])
def test_a_directory_that_somebody_else_made_is_refused(own_node: Node, place: str) -> None:
    directory = own_node.dram if place == "dram" else Path(own_node.socket).parent
    own_node.stop()
    os.chown(directory, 65_534, 65_534)
    with pytest.raises(NodeFailedError):
        own_node.start()
    own_node.stop()
    assert "of uid 65534" in own_node.log.read_text()
    os.chown(directory, 0, 0)
    own_node.start()


def test_others_cannot_read_what_moves_between_nodes() -> None:
    with cluster("one", "two") as nodes:
        for node in nodes:
            buffers = node.dram.with_name(f"{node.dram.name}-link")
            assert list(buffers.rglob("cnc.dat")), "the media driver runs there"
            assert stat.S_IMODE(buffers.stat().st_mode) == 0o700
