"""Calls that are given up at any moment leave nothing held, whichever face made them: no lease and no reserved slot.

One schedule, from a seed, for both faces: which call, what ends it, and where. A call ends because its deadline passes
at the n-th look at it, its n-th request cannot be sent, its n-th answer names a region that cannot be mapped, its copy
fails, or, on an event loop, its task is cancelled: some turns after the n-th arrival of something. The turn between the
arrival of an answer and the call's own is among them. Several threads or tasks share the client.
"""

from __future__ import annotations

import asyncio
import random
import re
import selectors
import struct
import threading
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import NAMESPACE
from kvasir_ops.lab.nodes import free_ports
from kvasir_ops.testing import MIB, Node, until
from test_node import fresh_keys, fresh_pages

from kvasir import Client, Deadline, DeadlineExceededError, RegionError, _async_wire, _copy, _wire
from kvasir import _engine_pb2 as pb
from kvasir._frames import frame_of
from kvasir._wire import result_of
from kvasir.aio import AsyncClient
from kvasir.records import BoolArray

pytestmark = pytest.mark.integration
SEED = random.SystemRandom().randrange(1 << 32)
MOMENTS = 400
WORKERS = 3
RESERVED = 1
KEYS, PAGES = fresh_keys(8), fresh_pages(8, 64 << 10)


class FaultError(Exception):
    """What the tests put in."""


class Ending(Enum):
    """What ends a call."""

    CANCELLED = auto()
    LATE = auto()
    UNSENT = auto()
    UNMAPPED = auto()
    UNCOPIED = auto()


RAISES = {
    Ending.CANCELLED: asyncio.CancelledError,
    Ending.LATE: DeadlineExceededError,
    Ending.UNSENT: FaultError,
    Ending.UNMAPPED: RegionError,
    Ending.UNCOPIED: FaultError,
}


@dataclass(frozen=True)
class Moment:
    """One step of the schedule."""

    call: int
    ending: Ending
    nth: int
    turns: int


def schedule(seed: int) -> list[Moment]:
    choose = random.Random(seed)
    return [
        Moment(choose.randrange(len(CALLS)), choose.choice(list(Ending)), choose.randrange(4), choose.randrange(4))
        for _ in range(MOMENTS)
    ]


class Doomed(Deadline):
    """The deadline of a call that ends at a moment; the parts of the client under test ask it whether that is now."""

    __slots__ = ("_seen", "moment")

    def __init__(self, moment: Moment) -> None:
        super().__init__(Deadline.after(10.0).at)
        self.moment = moment
        self._seen = 0

    def comes(self, ending: Ending) -> bool:
        """Whether the call ends at this look."""
        if self.moment.ending is not ending:
            return False
        self._seen += 1
        return self._seen > self.moment.nth

    def remaining(self) -> float:
        return -1.0 if self.comes(Ending.LATE) else super().remaining()


NOW: ContextVar[Doomed | None] = ContextVar("NOW", default=None)


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that are not sent, and answers with a region that is not there, in both faces."""

    def sent(request: pb.Request, max_frame: int) -> bytes:
        doomed = NOW.get()
        # Without those that nobody waits for: they give back what others left.
        posted = request.WhichOneof("call") in ("release", "abort")
        if doomed is not None and not posted and doomed.comes(Ending.UNSENT):
            raise FaultError("not sent")
        return frame_of(request, max_frame)

    def answered(response: pb.Response) -> pb.Response:
        doomed = NOW.get()
        kind = response.WhichOneof("result")
        if doomed is not None and kind in ("lookup", "reserve", "resolve") and doomed.comes(Ending.UNMAPPED):
            getattr(response, kind).regions.add(region=1 << 31, slots=1, slot_bytes=1, header_file="none")
        return result_of(response)

    for module in (_wire, _async_wire):
        monkeypatch.setattr(module, "frame_of", sent)
        monkeypatch.setattr(module, "result_of", answered)


class Failing(_copy.Copier):
    """Copies that end too early, or with an error after the bytes were moved."""

    def run(self, source: Any, target: Any, length: Any, deadline: Deadline, stopped: Any) -> BoolArray:
        end = Deadline(0.0) if deadline.remaining() < 0 else deadline
        complete = super().run(source, target, length, end, stopped)
        if isinstance(deadline, Doomed) and deadline.comes(Ending.UNCOPIED):
            raise FaultError("not copied")
        return complete


async def look(client: Any, end: Deadline) -> None:
    (await client.lookup(KEYS, deadline=end)).release()


async def wait(client: Any, end: Deadline) -> None:
    (await client.lookup(KEYS + fresh_keys(1), wait=0.02, deadline=end)).release()


async def load(client: Any, end: Deadline) -> None:
    with await client.lookup(KEYS, deadline=end) as lease:
        await client.load(lease, np.zeros_like(PAGES), deadline=end)


async def load_prefix(client: Any, end: Deadline) -> None:
    await client.load_prefix(KEYS, np.zeros_like(PAGES), deadline=end)


async def resolve(client: Any, end: Deadline) -> None:
    with await client.lookup(KEYS, deadline=end) as lease:
        await client.resolve(lease.id, deadline=end)


async def store(client: Any, end: Deadline) -> None:
    await client.store(fresh_keys(2), PAGES[:2], wait=0.01, deadline=end)


CALLS: list[Callable[[Any, Deadline], Coroutine[Any, Any, None]]] = [look, wait, load, load_prefix, resolve, store]


class Blocking:
    """The blocking face as if it were the other: its methods are awaited, and have ended by then."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any, **named: Any) -> Any:
            return getattr(self._client, name)(*arguments, **named)

        return call


def without_loop(work: Coroutine[Any, Any, None]) -> None:
    """Runs what never waits."""
    with pytest.raises(StopIteration):
        work.send(None)


class Watching(selectors.DefaultSelector):
    """Counts the turns of an event loop in which something was there to be read: an answer, or the end of a copy."""

    readable = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(timeout)
        self.readable += bool(ready)
        return ready


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


async def nothing_held(client: Any, node: Node, metrics: str) -> None:
    """Nothing is leased or reserved, while the connection lives: its end would give back whatever leaked."""
    assert await client.ping(b"on") == b"on"
    # The figures are told now and then: once they know of this lease, they are of a later time than all calls.
    with await client.lookup(KEYS):
        until(lambda: leases(metrics) > 0, "the metrics tell of a lease", 20)
    await client.ping()
    until(lambda: leases(metrics) == 0, f"no lease is left, seed {SEED}", 20)
    until(lambda: reserved(node.dram) == 0, f"no slot is reserved, seed {SEED}", 20)


Run = Callable[[Coroutine[Any, Any, None], Moment], Awaitable[BaseException | None]]


async def work(client: Any, moments: list[Moment], run: Run, reached: Counter[Ending]) -> None:
    """Makes calls that end at these moments."""
    for moment in moments:
        doomed = Doomed(moment)
        NOW.set(doomed)
        ended = await run(CALLS[moment.call](client, doomed), moment)
        NOW.set(None)
        assert ended is None or isinstance(ended, RAISES[moment.ending]), (moment, ended)
        reached[moment.ending] += ended is not None


@pytest.mark.usefixtures("faults")
def test_calls_that_are_given_up_leave_nothing_held(measured: tuple[Node, str]) -> None:
    node, metrics = measured
    reached: Counter[Ending] = Counter()

    async def run(call: Coroutine[Any, Any, None], _moment: Moment) -> BaseException | None:
        try:
            await call
        except Exception as error:
            return error
        return None

    # A thread cannot be cancelled from outside: its deadline passes instead.
    moments = [
        Moment(m.call, Ending.LATE, m.nth, m.turns) if m.ending is Ending.CANCELLED else m for m in schedule(SEED)
    ]
    failures: list[BaseException] = []

    def worker(share: list[Moment]) -> None:
        try:
            without_loop(work(Blocking(client), share, run, reached))
        except BaseException as error:
            failures.append(error)

    with Client.connect(node.socket, namespace=NAMESPACE, deadline=10.0, copier=Failing()) as client:
        client.store(KEYS, PAGES)
        threads = [threading.Thread(target=worker, args=(moments[n::WORKERS],)) for n in range(WORKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not failures, (SEED, failures)
        without_loop(nothing_held(Blocking(client), node, metrics))
    assert set(reached) == set(Ending) - {Ending.CANCELLED}
    assert all(reached.values()), reached


@pytest.mark.usefixtures("faults")
def test_awaited_calls_that_are_given_up_leave_nothing_held(measured: tuple[Node, str]) -> None:
    node, metrics = measured
    selector = Watching()
    reached: Counter[Ending] = Counter()

    async def run(call: Coroutine[Any, Any, None], moment: Moment) -> BaseException | None:
        before = selector.readable
        task = asyncio.ensure_future(call)
        if moment.ending is Ending.CANCELLED:
            while not task.done() and selector.readable - before < moment.nth:
                await asyncio.sleep(0)
            for _ in range(moment.turns):
                await asyncio.sleep(0)
            task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        return ended

    async def scenario() -> None:
        async with await AsyncClient.connect(node.socket, namespace=NAMESPACE, deadline=10.0) as client:
            client._copier = Failing()
            await client.store(KEYS, PAGES)
            moments = schedule(SEED)
            await asyncio.gather(*(work(client, moments[n::WORKERS], run, reached) for n in range(WORKERS)))
            await nothing_held(client, node, metrics)

    loop = asyncio.SelectorEventLoop(selector)
    try:
        loop.run_until_complete(scenario())
    finally:
        loop.close()
    assert set(reached) == set(Ending)
    assert all(reached.values()), reached
