"""Calls of the asyncio client that are cancelled at any moment leave nothing held: no lease and no reserved slot.

The moments come from a seed: some of the event loop's turns after the n-th arrival of something. The turn between the
arrival of an answer and the call's own is among them.
"""

from __future__ import annotations

import asyncio
import random
import re
import selectors
import struct
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import NAMESPACE
from kvasir_ops.lab.nodes import free_ports
from kvasir_ops.testing import MIB, Node, until
from test_node import fresh_keys, fresh_pages

from kvasir import KvasirError
from kvasir.aio import AsyncClient

pytestmark = pytest.mark.integration
SEED = random.SystemRandom().randrange(1 << 32)
CANCELLED = 400
RESERVED = 1


@pytest.fixture(scope="module")
def measured() -> Iterator[tuple[Node, str]]:
    """A node, and where its metrics are."""
    (port,) = free_ports(1)
    with Node(64 * MIB, settings={"http": {"address": f"127.0.0.1:{port}"}}) as node:
        yield node, f"http://127.0.0.1:{port}/metrics"


def leases(metrics: str) -> float:
    text = urllib.request.urlopen(metrics, timeout=10).read().decode()
    found = re.search(r"^kvasir_storage_leases (\S+)$", text, re.MULTILINE)
    assert found is not None
    return float(found[1])


def reserved(arena: Path) -> int:
    """Slots that are reserved, by the header tables."""
    count = 0
    for file in arena.glob("tenants/*/*.head"):
        table = file.read_bytes()
        (slots,) = struct.unpack_from("<I", table, 20)
        count += sum(table[4096 + slot * 256] == RESERVED for slot in range(slots))
    return count


class Watching(selectors.DefaultSelector):
    """Counts the turns of an event loop in which something was there to be read: an answer, or the end of a copy."""

    readable = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(timeout)
        self.readable += bool(ready)
        return ready


async def nothing_held(client: AsyncClient, node: Node, metrics: str, keys: bytes) -> None:
    """Nothing is leased or reserved, while the connection lives: its end would give back whatever leaked."""
    assert await client.ping(b"on") == b"on"
    # The figures are told now and then: once they know of this lease, they are of a later time than all calls.
    with await client.lookup(keys):
        until(lambda: leases(metrics) > 0, "the metrics tell of a lease", 20)
    await client.ping()
    until(lambda: leases(metrics) == 0, f"no lease is left, seed {SEED}", 20)
    until(lambda: reserved(node.dram) == 0, f"no slot is reserved, seed {SEED}", 20)


def test_cancelled_calls_leave_nothing_held(measured: tuple[Node, str]) -> None:
    node, metrics = measured
    choose = random.Random(SEED)
    selector = Watching()

    async def scenario() -> None:
        async with await AsyncClient.connect(node.socket, namespace=NAMESPACE, deadline=10.0) as client:
            keys, pages = fresh_keys(8), fresh_pages(8, 64 << 10)
            back = np.zeros_like(pages)
            assert (await client.store(keys, pages)).committed == 8

            async def look() -> None:
                (await client.lookup(keys)).release()

            async def wait() -> None:
                (await client.lookup(keys + fresh_keys(1), wait=0.02)).release()

            async def load() -> None:
                await client.load_prefix(keys, back)

            async def resolve() -> None:
                with await client.lookup(keys) as lease:
                    await client.resolve(lease.id)

            async def store() -> None:
                await client.store(fresh_keys(2), pages[:2], wait=0.01)

            calls: list[Callable[[], Awaitable[None]]] = [look, wait, load, resolve, store]
            for _ in range(CANCELLED):
                before, answers, turns = selector.readable, choose.randrange(4), choose.randrange(4)
                task = asyncio.ensure_future(choose.choice(calls)())
                while not task.done() and selector.readable - before < answers:
                    await asyncio.sleep(0)
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                (ended,) = await asyncio.gather(task, return_exceptions=True)
                assert ended is None or isinstance(ended, asyncio.CancelledError), ended
            await nothing_held(client, node, metrics, keys)

    loop = asyncio.SelectorEventLoop(selector)
    try:
        loop.run_until_complete(scenario())
    finally:
        loop.close()


def test_a_commit_that_cannot_be_sent_gives_its_slots_back(
    measured: tuple[Node, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    node, _ = measured

    class NotSentError(KvasirError):
        pass

    async def scenario() -> None:
        async with await AsyncClient.connect(node.socket, namespace=NAMESPACE, deadline=10.0) as client:
            await client.ping()
            assert client._wire is not None
            sent = client._wire.call

            async def refuse(request: object, deadline: object) -> object:
                if request.HasField("commit"):  # type: ignore[attr-defined]
                    raise NotSentError("too long")
                return await sent(request, deadline)  # type: ignore[arg-type]

            monkeypatch.setattr(client._wire, "call", refuse)
            with pytest.raises(NotSentError):
                await client.store(fresh_keys(1), fresh_pages(1, 4096))
            await client.ping()
            until(lambda: reserved(node.dram) == 0, "no slot is reserved", 20)

    asyncio.run(scenario())
