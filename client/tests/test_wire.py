"""Threads that share one connection, against a peer that answers late and in another order than it was asked."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from kvasir import _engine_pb2 as pb
from kvasir._calls import ping_request
from kvasir._wire import Wire
from kvasir.deadline import Deadline
from kvasir.errors import DeadlineExceededError, KvasirError, NodeUnavailableError

INCARNATION = bytes(16 * [7])
Answer = Callable[[list[pb.Request]], list[pb.Response]]


def pong(request: pb.Request) -> pb.Response:
    return pb.Response(id=request.id, incarnation=INCARNATION, ping=pb.PingResult(payload=request.ping.payload))


class Peer:
    """Reads requests on a thread of its own, and sends what ``answer`` makes of those that have gathered."""

    def __init__(self, answer: Answer) -> None:
        near, self._far = socket.socketpair()
        self.wire = Wire(near)
        self._answer = answer
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # the wire was closed with requests or answers under way
            self._serve()

    def _serve(self) -> None:
        buffer = b""
        while received := self._far.recv(1 << 16):
            buffer += received
            requests = []
            while len(buffer) >= 4 and len(buffer) >= 4 + (length := struct.unpack_from("<I", buffer)[0]):
                requests.append(pb.Request.FromString(buffer[4 : 4 + length]))
                buffer = buffer[4 + length :]
            for response in self._answer(requests):
                frame = response.SerializeToString()
                self._far.sendall(struct.pack("<I", len(frame)) + frame)

    def close(self) -> None:
        self.wire.close()
        self._far.close()
        self._thread.join(5)


@pytest.fixture
def shuffled() -> Iterator[Peer]:
    """Keeps up to three requests back, and answers the others in a random order."""
    order = random.Random(1)
    kept: list[pb.Request] = []

    def answer(requests: list[pb.Request]) -> list[pb.Response]:
        kept.extend(requests)
        order.shuffle(kept)
        now, kept[:] = kept[: max(1, len(kept) - 3)], kept[max(1, len(kept) - 3) :]
        return [pong(request) for request in now]

    peer = Peer(answer)
    yield peer
    peer.close()


def test_each_thread_gets_its_own_answer(shuffled: Peer) -> None:
    def calls(thread: int) -> int:
        wrong = 0
        for number in range(400):
            payload = b"%d/%d" % (thread, number)
            answer = shuffled.wire.call(ping_request(payload), Deadline.after(20))
            wrong += answer.ping.payload != payload
        return wrong

    done = threading.Event()

    def keep_moving() -> None:
        # What the peer keeps back goes out with the next request, whoever sends it.
        while not done.is_set():
            shuffled.wire.post(ping_request(b"nobody waits"))

    mover = threading.Thread(target=keep_moving)
    mover.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(calls, range(8))) == 0
    finally:
        done.set()
        mover.join()
    assert not shuffled.wire._waiting


def test_a_sleeping_thread_reads_when_the_reading_one_gave_up() -> None:
    held: list[pb.Request] = []

    def answer(requests: list[pb.Request]) -> list[pb.Response]:
        """The first request is never answered; the second when the third has come."""
        held.extend(requests)
        return [pong(held[1])] if len(held) == 3 else []

    peer = Peer(answer)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(peer.wire.call, ping_request(b"first"), Deadline.after(0.2))
        while not peer.wire._reading.locked():
            pass
        second = pool.submit(peer.wire.call, ping_request(b"second"), Deadline.after(20))
        with pytest.raises(DeadlineExceededError):
            first.result(10)
        peer.wire.post(ping_request(b"third"))
        assert second.result(10).ping.payload == b"second"
    peer.close()


def test_all_threads_learn_that_the_connection_ended() -> None:
    gathered = threading.Semaphore(0)

    def answer(requests: list[pb.Request]) -> list[pb.Response]:
        gathered.release(len(requests))
        return []

    peer = Peer(answer)

    def call() -> KvasirError | None:
        try:
            peer.wire.call(ping_request(b""), Deadline.after(20))
        except KvasirError as error:
            return error
        return None

    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(call) for _ in range(4)]
        for _ in calls:
            assert gathered.acquire(timeout=10)
        peer._far.shutdown(socket.SHUT_RDWR)
        errors = [each.result(10) for each in calls]
    assert all(isinstance(error, NodeUnavailableError) for error in errors), errors
    peer.close()


def test_an_answer_that_came_too_late_gives_its_lease_back() -> None:
    released: list[int] = []
    late: list[pb.Request] = []

    def answer(requests: list[pb.Request]) -> list[pb.Response]:
        responses = []
        for request in requests:
            if request.HasField("lookup"):
                late.append(request)
            elif request.HasField("release"):
                released.extend(request.release.leases)
            else:
                granted = pb.LookupResult(lease=5, lease_ms=1000)
                responses += [pb.Response(id=each.id, incarnation=INCARNATION, lookup=granted) for each in late]
                late.clear()
                responses.append(pong(request))
        return responses

    peer = Peer(answer)
    with pytest.raises(DeadlineExceededError):
        peer.wire.call(pb.Request(lookup=pb.Lookup(keys=bytes(32))), Deadline.after(0.05))
    peer.wire.call(ping_request(b""), Deadline.after(10))
    peer.wire.call(ping_request(b""), Deadline.after(10))
    assert released == [5]
    peer.close()
