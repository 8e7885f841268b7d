"""The asyncio face against a real node."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import numpy as np
import pytest
from conftest import NAMESPACE
from kvasir_ops.testing import Node
from test_node import fresh_keys, fresh_pages

from kvasir import DeadlineExceededError, _copy
from kvasir.aio import AsyncClient
from kvasir.records import BoolArray

pytestmark = pytest.mark.integration


def test_many_tasks_store_and_load(node: Node) -> None:
    async def one(client: AsyncClient) -> None:
        keys, pages = fresh_keys(4), fresh_pages(4, 30_000)
        assert (await client.store(keys, pages)).committed == 4
        back = np.zeros_like(pages)
        with await client.lookup(keys) as lease:
            assert (await client.load(lease, back, verify=True)).leading_chunks == 4
            assert await client.renew([lease]) == [True]
        assert (back == pages).all()
        assert await client.pin(keys, 10.0) == 4
        assert await client.unpin(keys) == 4

    async def scenario() -> None:
        async with await AsyncClient.connect(node.socket, namespace=NAMESPACE, deadline=10.0) as client:
            await asyncio.gather(*(one(client) for _ in range(16)))
            assert await client.ping(b"abc") == b"abc"
            assert (await client.events(limit=1)).events
            async with await AsyncClient.join(node.socket, client.session, client.secret) as worker:
                assert await worker.ping() == b""

    asyncio.run(scenario())


def test_a_held_call_ends_at_its_deadline(node: Node) -> None:
    async def scenario() -> None:
        async with await AsyncClient.connect(node.socket, namespace=NAMESPACE, deadline=10.0) as client:
            last = (await client.events(limit=100_000)).events
            held = client.events(last[-1].sequence if last else 0, wait=30.0, deadline=0.3)
            with contextlib.suppress(DeadlineExceededError):
                assert not (await held).events
            assert await client.ping(b"on") == b"on"

    asyncio.run(scenario())


def test_a_cancelled_load_has_stopped_before_the_cancellation_shows(node: Node) -> None:
    inside, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    class Waiting(_copy.Copier):
        def run(self, *arguments: Any) -> BoolArray:
            inside.set()
            assert go_on.wait(10)
            try:
                return super().run(*arguments)
            finally:
                ended.set()

    async def scenario() -> None:
        async with await AsyncClient.connect(node.socket, namespace=NAMESPACE, deadline=10.0) as client:
            keys, pages = fresh_keys(1), fresh_pages(1, 4096)
            await client.store(keys, pages)
            client._copier = Waiting()
            back = np.zeros_like(pages)
            with await client.lookup(keys) as lease:
                task = asyncio.create_task(client.load(lease, back))
                await asyncio.to_thread(inside.wait, 10)
                task.cancel()
                await asyncio.sleep(0)
                assert not task.done()
                go_on.set()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert ended.is_set()
                assert not back.any()

    asyncio.run(scenario())
