"""The suite ``control``: calls that move no bytes, beside a bare echo between the same two runtimes.

The echo server is a JVM with the node's flags and the node's way of waiting (``io.kvasir.bench.suite.EchoServer``); the
echo's client waits like ``kvasir.Client``. Echoes and calls take turns, a burst of each, within every run. One record
is of a ping beside other connections that send the longest lookups; its reference is the same ping without them.
"""

from __future__ import annotations

import select
import socket
import statistics
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing

from kvasir import Client, Deadline, SlotStatus
from kvasir._calls import StoreCall
from kvasir_ops.replay.content import Content

from kvasir_bench.context import Context
from kvasir_bench.crowd import CONNECTIONS, KEYS, Crowd
from kvasir_bench.java_bench import prepare
from kvasir_bench.node import Helper, Node
from kvasir_bench.objects import buffer, key_of, store_all
from kvasir_bench.records import Goal, Record, at_most, percentile, record

ECHO_BYTES = 64
OBJECT_BYTES = 4096
LOOKUP_KEYS = 512
RESERVE_KEYS = 64
CROWDED = "control.ping.crowded"
CROWD_PINGS = 1000
CROWD_PING_GAP_S = 0.001
CROWD_PING_BOUND_MS = 5.0
BURSTS = 20
BURST = 50
SPIN_US = 250
"""The node's ``engine.spin``; the echo server is given the same, and the node stays awake for nothing else."""


class EchoClient:
    """Waits as ``kvasir.Client`` does without ``spin``: poll() before each look at a non-blocking socket."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(path)
        self._socket.setblocking(False)
        self._readable = select.poll()
        self._readable.register(self._socket, select.POLLIN)
        self._message = bytes(range(ECHO_BYTES))
        self._buffer = bytearray(ECHO_BYTES)

    def echo(self) -> None:
        """One round trip."""
        view = memoryview(self._buffer)
        self._socket.send(self._message)
        got = 0
        while got < ECHO_BYTES:
            if not self._readable.poll(5000):
                raise TimeoutError("the echo server does not answer")
            got += self._socket.recv_into(view[got:])
        assert self._buffer == self._message

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()


def run(context: Context) -> Generator[Record, None, None]:
    """One node, one echo server."""
    programs = prepare(context.home, context.say)
    node = Node(
        context.home,
        context.directory / "control",
        context.shared_memory / "control",
        {"engine": {"spin": f"{SPIN_US}us", "busy_spin": "0s"}, "dram": {"capacity": "512MiB"}, "ssd": {"capacity": 0}},
    )
    with ExitStack() as stack:
        stack.enter_context(closing(node))
        node.start()
        client = stack.enter_context(node.client(deadline=10.0))
        path = str(context.directory / "echo.sock")
        command = programs.like_a_node("io.kvasir.bench.suite.EchoServer", path, str(SPIN_US))
        stack.enter_context(closing(Helper(command)))
        echo = stack.enter_context(closing(EchoClient(path)))
        keys = [key_of("control", index) for index in range(LOOKUP_KEYS)]
        store_all(client, keys, Content(OBJECT_BYTES))
        packed = b"".join(keys)
        calls: list[tuple[str, str, Goal, Callable[[], float]]] = [
            ("control.ping", "ping", at_most(1.3), lambda: _ping(client)),
            (
                "control.lookup.512",
                f"lookup of {LOOKUP_KEYS} keys, all hits, leased",
                at_most(1, plus=150),
                lambda: _lookup(client, packed),
            ),
            (
                "control.reserve_commit.64",
                f"reserve and commit of {RESERVE_KEYS} objects, without the copies between them",
                at_most(2, plus=100),
                ReserveCommit(client).call,
            ),
        ]
        for id, name, goal, call in calls:
            yield from context.part(id, _record, id, name, goal, call, echo)
        yield from context.part(CROWDED, _crowded, client, node.socket)


def _ping(client: Client) -> float:
    begin = time.perf_counter()
    client.ping()
    return time.perf_counter() - begin


def _lookup(client: Client, packed: bytes) -> float:
    begin = time.perf_counter()
    lease = client.lookup(packed)
    seconds = time.perf_counter() - begin
    assert lease.hit_chunks == LOOKUP_KEYS
    lease.release()
    # The release is not waited for; a ping behind it keeps its work out of the next call's time.
    client.ping()
    return seconds


def _crowded(context: Context, client: Client, socket_path: str) -> Record:
    """Pings of one connection while others send long lookups, and while they do not."""
    with closing(Crowd(socket_path)) as crowd:
        return _beside(context, client, crowd)


def _beside(context: Context, client: Client, crowd: Crowd) -> Record:
    context.say(f"{CROWDED}: {context.runs} runs of {CROWD_PINGS} pings, without and with lookups")
    values: list[float] = []
    references: list[float] = []
    medians: list[float] = []
    lookups = 0
    for turn in range(context.runs + 1):
        idle = _pings(client)
        before = crowd.lookups()
        crowd.wake()
        crowded = _pings(client)
        crowd.rest()
        lookups += crowd.lookups() - before
        if turn:  # round 0 lets the node compile
            references.append(percentile(idle, 0.99) * 1e3)
            values.append(percentile(crowded, 0.99) * 1e3)
            medians.append(statistics.median(crowded) * 1e3)
    if not lookups:
        raise RuntimeError("no lookup of the other connections was answered meanwhile")
    return record(
        CROWDED,
        f"ping while {CONNECTIONS} connections send lookups of {KEYS} absent keys, p99",
        "ms",
        values,
        "the same pings while they do not, p99",
        references,
        at_most(plus=CROWD_PING_BOUND_MS),
        p50=_middle(medians),
        lookups=lookups,
    )


def _pings(client: Client) -> list[float]:
    seconds = []
    for _ in range(CROWD_PINGS):
        seconds.append(_ping(client))
        time.sleep(CROWD_PING_GAP_S)
    return seconds


class ReserveCommit:
    """The two calls of a store with the client's own requests; what lies in the slots does not matter here."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._sources = buffer(RESERVE_KEYS, OBJECT_BYTES)
        self._serial = 0

    def call(self) -> float:
        """Reserves and commits fresh keys; seconds of both calls, the building of requests included."""
        keys = b"".join(key_of("reserve", self._serial + row) for row in range(RESERVE_KEYS))
        self._serial += RESERVE_KEYS
        attachment = self._client.attachment
        handle = next(iter(attachment.handles.values()))
        end = Deadline.after(10.0)
        call = StoreCall(
            keys, self._sources, end, shard=0, parents=None, chunk_index=None, crc32c=False,
            block_hashes=None, priority=0, ttl=0.0, wait=1.0,
        )  # fmt: skip
        begin = time.perf_counter()
        call.take(attachment, attachment.wire.call(call.reserve_request(handle), end).reserve)
        granted = call.has_slots()
        commit = call.commit_request()
        assert granted
        assert commit is not None
        call.committed(attachment.wire.call(commit, end).commit)
        seconds = time.perf_counter() - begin
        assert (call.statuses == SlotStatus.COMMITTED).all(), f"not every object was committed: {call.statuses}"
        return seconds


def _record(context: Context, id: str, name: str, goal: Goal, call: Callable[[], float], echo: EchoClient) -> Record:
    context.say(f"{id}: {context.runs} runs of {BURSTS * BURST} calls")
    values: list[float] = []
    references: list[float] = []
    tails: list[float] = []
    reference_tails: list[float] = []
    for turn in range(context.runs + 1):
        calls: list[float] = []
        echoes: list[float] = []
        for _ in range(BURSTS):
            calls += [call() for _ in range(BURST)]
            for _ in range(BURST):
                begin = time.perf_counter()
                echo.echo()
                echoes.append(time.perf_counter() - begin)
        if turn:  # round 0 lets both JVMs compile
            values.append(statistics.median(calls) * 1e6)
            references.append(statistics.median(echoes) * 1e6)
            tails.append(percentile(calls, 0.99) * 1e6)
            reference_tails.append(percentile(echoes, 0.99) * 1e6)
    return record(
        id,
        f"{name}, p50",
        "us",
        values,
        f"echo of {ECHO_BYTES} bytes, Python to Java over a Unix socket, the same way of waiting, p50",
        references,
        goal,
        p99=_middle(tails),
        reference_p99=_middle(reference_tails),
        calls_per_run=BURSTS * BURST,
    )


def _middle(values: Sequence[float]) -> float:
    return round(statistics.median(values), 1)
