"""What a client does when the node is paused, killed, or gone. Each test has a node of its own."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest
from conftest import NAMESPACE
from kvasir_ops.testing import Node, until
from test_node import fresh_keys, fresh_pages

from kvasir import Client, DeadlineExceededError, NodeUnavailableError, UnknownSessionError
from kvasir.aio import AsyncClient

pytestmark = pytest.mark.integration


def test_a_paused_node_costs_a_deadline_and_nothing_stays_held(own_node: Node) -> None:
    with Client.connect(own_node.socket, namespace=NAMESPACE, deadline=10.0) as client:
        keys, pages = fresh_keys(2), fresh_pages(2, 4096)
        client.store(keys, pages)
        own_node.pause()
        before = time.monotonic()
        with pytest.raises(DeadlineExceededError):
            client.lookup(keys, deadline=0.2)
        assert not client.load_prefix(keys, np.zeros_like(pages), deadline=0.2).loaded.any()
        with pytest.raises(DeadlineExceededError):
            client.store(fresh_keys(1), pages[:1], deadline=0.2)
        assert time.monotonic() - before < 5.0
        own_node.resume()
        back = np.zeros_like(pages)
        assert client.load_prefix(keys, back).leading_chunks == 2
        assert (back == pages).all()
        # The late answers were read by now, and what they granted was given back.
        until(lambda: client.ping() == b"" and not client.attachment.wire._discarded, "late answers are discarded")


def test_after_kill_the_next_calls_attach_again_and_objects_are_still_there(own_node: Node) -> None:
    with Client.connect(own_node.socket, namespace=NAMESPACE, deadline=10.0) as client:
        keys, pages = fresh_keys(8), fresh_pages(8, 1 << 20)
        assert client.store(keys, pages).committed == 8
        lease = client.lookup(keys)
        incarnation = client.incarnation
        own_node.kill()
        result = client.load_prefix(keys, np.zeros_like(pages))
        assert not result.loaded.any()
        assert isinstance(result.error, NodeUnavailableError)
        before = time.monotonic()
        with pytest.raises(NodeUnavailableError):
            client.ping()
        assert time.monotonic() - before < 5.0
        own_node.start()
        back = np.zeros_like(pages)
        until(lambda: client.load_prefix(keys, back).leading_chunks == 8, "hits after the restart")
        assert (back == pages).all()
        assert client.incarnation != incarnation
        assert not client.load(lease, back).loaded.any()


def test_a_joined_client_learns_that_its_session_is_gone_and_rejoins(own_node: Node) -> None:
    with (
        Client.connect(own_node.socket, namespace=NAMESPACE, deadline=10.0) as scheduler,
        Client.join(own_node.socket, scheduler.session, scheduler.secret, deadline=10.0) as worker,
    ):
        own_node.kill()
        with pytest.raises(NodeUnavailableError):
            worker.ping()
        own_node.start()

        def gone() -> bool:
            try:
                worker.ping()
            except NodeUnavailableError:
                return False
            except UnknownSessionError:
                return True
            raise AssertionError("the old session lives on")

        until(gone, "the worker is told that its session ended")
        until(lambda: scheduler.load_prefix(fresh_keys(1), fresh_pages(1, 8)).error is None, "the scheduler is back")
        worker.rejoin(scheduler.session, scheduler.secret)
        assert worker.ping(b"again") == b"again"


def test_the_asyncio_face_attaches_again_too(own_node: Node) -> None:
    async def scenario() -> None:
        async with await AsyncClient.connect(own_node.socket, namespace=NAMESPACE, deadline=10.0) as client:
            keys, pages = fresh_keys(2), fresh_pages(2, 4096)
            assert (await client.store(keys, pages)).committed == 2
            own_node.kill()
            assert (await client.load_prefix(keys, np.zeros_like(pages))).error is not None
            await asyncio.to_thread(own_node.start)
            end = time.monotonic() + 20
            back = np.zeros_like(pages)
            while (await client.load_prefix(keys, back)).leading_chunks != 2:
                assert time.monotonic() < end
                await asyncio.sleep(0.01)
            assert (back == pages).all()

    asyncio.run(scenario())
