"""One connection to the node, used by blocking threads; ``_async_wire`` is its asyncio sibling.

There is no reader thread: of the threads that wait for answers one reads, and hands the others theirs.
"""

from __future__ import annotations

import itertools
import select
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Final

from kvasir import _engine_pb2 as pb
from kvasir._frames import _FIRST_MAX_FRAME, FrameReader, frame_of
from kvasir._grants import GRANTING, give_back
from kvasir._peer import check_server
from kvasir.deadline import Deadline
from kvasir.errors import (
    ClosedError,
    DeadlineExceededError,
    KvasirError,
    NodeUnavailableError,
    ProtocolViolationError,
    error_of,
)

#: Answers to fire-and-forget requests that may lie unread in the socket.
_MAX_UNREAD: Final = 32
#: Seconds between two attempts while the node's queue of new connections is full.
_CONNECT_PAUSE: Final = 0.005


class BaseWire(ABC):
    """What both faces' connections share: request ids, the incarnation, and answers that nobody waits for any more."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket: Final = sock
        self.max_frame = _FIRST_MAX_FRAME
        self.incarnation = b""
        self.broken: KvasirError | None = None
        self._ids = itertools.count(1)
        self._discarded: set[int] = set()
        #: Told of regions in answers that nobody reads: the node names each only once.
        self.on_regions: Callable[[Iterable[pb.Region]], None] | None = None

    def limit_frames(self, max_frame: int) -> None:
        """Takes over the node's limit."""
        self.max_frame = max_frame

    @abstractmethod
    def post(self, request: pb.Request) -> None:
        """Sends without waiting for the answer, which is dropped when it comes."""

    def _check(self, response: pb.Response) -> None:
        if self.incarnation != response.incarnation:
            if self.incarnation:
                raise NodeUnavailableError("the node's incarnation changed within a connection")
            if len(response.incarnation) != 16:
                raise ProtocolViolationError(f"an incarnation has {len(response.incarnation)} bytes; expected 16")
            self.incarnation = response.incarnation
        if response.id == 0:
            raise error_of(response.error)

    def _discard(self, response: pb.Response) -> None:
        """Gives back what a late answer granted, so that a call given up leaves nothing held."""
        if response.id not in self._discarded:
            raise ProtocolViolationError(f"the node answered request {response.id}, which was never sent")
        self._discarded.remove(response.id)
        kind = response.WhichOneof("result")
        if kind not in GRANTING:
            return
        if self.on_regions is not None:
            self.on_regions(getattr(response, kind).regions)
        request = give_back(response)
        if request is not None:
            self.post(request)


def result_of(response: pb.Response) -> pb.Response:
    """The response, unless it is an error, which is raised typed."""
    if response.HasField("error"):
        raise error_of(response.error)
    return response


class Wire(BaseWire):
    """Blocking face. Thread-safe: several calls may be in flight.

    A thread that uses the connection alone takes two free locks in a call and wakes nobody; only a thread that finds
    another one reading sleeps, until it is handed its answer or the reading.

    Args:
        sock: connected; becomes non-blocking.
        spin: seconds to look again and again for an answer before the thread sleeps.
    """

    def __init__(self, sock: socket.socket, spin: float = 0.0) -> None:
        super().__init__(sock)
        sock.setblocking(False)
        self.reader: Final = FrameReader(sock)
        self._spin = spin
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(sock, select.POLLOUT)
        self._sending = threading.Lock()
        #: Held by the thread that reads; for ever once the connection is closed.
        self._reading = threading.Lock()
        self._state = threading.Condition()
        #: Requests whose answers are awaited, and answers that were read for threads that sleep.
        self._waiting: dict[int, pb.Response | None] = {}
        self._sleepers = 0

    @staticmethod
    def connect(path: str, deadline: Deadline, spin: float = 0.0) -> Wire:
        """Connects to the node's socket."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(max(deadline.remaining(), 0.001))
            while True:
                try:
                    sock.connect(path)
                    break
                except BlockingIOError:
                    # More connect at once than the node has accepted; a Unix socket says so instead of waiting.
                    if deadline.remaining() <= 0:
                        raise
                    time.sleep(_CONNECT_PAUSE)
            check_server(sock, path)
        except OSError as error:
            sock.close()
            raise NodeUnavailableError(f"no node answers on {path}: {error}") from error
        except KvasirError:
            sock.close()
            raise
        return Wire(sock, spin)

    def limit_frames(self, max_frame: int) -> None:
        """Takes over the node's limit, in both directions."""
        super().limit_frames(max_frame)
        self.reader.max_frame = max_frame

    def call(self, request: pb.Request, deadline: Deadline) -> pb.Response:
        """Sends, waits, and raises what the node answered as an error."""
        identity = request.id = next(self._ids)
        request.deadline_ms = deadline.millis()
        frame = frame_of(request, self.max_frame)
        if self.broken is not None:
            raise self.broken
        self._waiting[identity] = None
        try:
            self._send(frame, deadline)
        except BaseException:
            self._waiting.pop(identity, None)
            raise
        if not self._reading.acquire(False):
            response = self._sleep(identity, deadline)
            if response is not None:
                return result_of(response)
        response = self._read(identity, deadline)
        return result_of(response)

    def post(self, request: pb.Request) -> None:
        """Sends without waiting; reads what has arrived when many answers lie unread."""
        request.id = next(self._ids)
        request.deadline_ms = 1000
        frame = frame_of(request, self.max_frame)
        if self.broken is not None:
            return
        self._discarded.add(request.id)
        if len(self._discarded) > _MAX_UNREAD and self._reading.acquire(False):
            self._drain()
        self._send(frame, Deadline.after(1.0))

    def _drain(self) -> None:
        """Holding ``_reading``, which it gives up."""
        try:
            while True:
                response = self.reader.next()
                if response is None:
                    self.reader.fill()
                else:
                    self._check(response)
                    self._dispatch(response)
        except BlockingIOError:
            pass
        except KvasirError as error:
            self.fail(error)
        finally:
            self._reading.release()
            if self._sleepers:
                self._wake()

    def _send(self, frame: bytes, deadline: Deadline) -> None:
        sending = self._sending
        if not sending.acquire(False) and not sending.acquire(timeout=max(deadline.remaining(), 0)):
            raise DeadlineExceededError("other requests still wait to be sent")
        try:
            try:
                sent = self.socket.send(frame)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                raise self._broke(error) from error
            if sent < len(frame):
                self._send_rest(memoryview(frame)[sent:], deadline, begun=sent > 0)
        finally:
            sending.release()

    def _send_rest(self, rest: memoryview, deadline: Deadline, *, begun: bool) -> None:
        while rest:
            left = deadline.remaining()
            if left <= 0 or not self._writable.poll(left * 1000):
                late = DeadlineExceededError("the node does not read its socket")
                if begun:
                    self.fail(late)
                raise late
            try:
                rest = rest[self.socket.send(rest) :]
                begun = True
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._broke(error) from error

    def _broke(self, error: OSError) -> NodeUnavailableError:
        broken = NodeUnavailableError(f"the connection to the node broke: {error}")
        self.fail(broken)
        return broken

    def _sleep(self, identity: int, deadline: Deadline) -> pb.Response | None:
        """Another thread reads: its answer, or None when this thread has to read (it then holds ``_reading``)."""
        with self._state:
            self._sleepers += 1
            try:
                while True:
                    response = self._waiting[identity]
                    if response is not None:
                        del self._waiting[identity]
                        return response
                    if self.broken is not None:
                        raise self.broken
                    # Tried after _sleepers grew: a reader that stopped before did not see this thread.
                    if self._reading.acquire(False):
                        return None
                    left = deadline.remaining()
                    if left <= 0:
                        raise DeadlineExceededError("the node did not answer in time")
                    self._state.wait(left)
            except BaseException:
                self._abandon(identity)
                raise
            finally:
                self._sleepers -= 1

    def _abandon(self, identity: int) -> None:
        """A sleeping thread gives up; under ``_state``, so that the reading one does not interfere."""
        response = self._waiting.pop(identity, None)
        self._discarded.add(identity)
        if response is not None:
            self._discard(response)

    def _read(self, identity: int, deadline: Deadline) -> pb.Response:
        """As the one thread that reads: hands out answers until this thread's own is there. Gives ``_reading`` up."""
        # There already when another thread read it between this one's sending and its becoming the reader.
        response = self._waiting.pop(identity)
        next_response = self.reader.next
        try:
            while response is None:
                arrived = next_response()
                if arrived is None:
                    self._fill(deadline)
                    continue
                if arrived.incarnation != self.incarnation or not arrived.id:
                    self._check(arrived)
                if arrived.id == identity:
                    return arrived
                self._dispatch(arrived)
            return response
        except DeadlineExceededError:
            self._discarded.add(identity)
            raise
        except KvasirError as error:
            self.fail(error)
            raise
        except BaseException:
            # Interrupted: bytes may have been taken from the socket and lost, so nothing can follow them.
            self.fail(NodeUnavailableError("a thread was interrupted while it read"))
            raise
        finally:
            self._reading.release()
            if self._sleepers:
                self._wake()

    def _wake(self) -> None:
        """Some thread sleeps though nobody reads any more: one of them has to."""
        with self._state:
            self._state.notify_all()

    def _fill(self, deadline: Deadline) -> None:
        if self._spin:
            until = min(time.monotonic() + self._spin, deadline.at)
            while time.monotonic() < until:
                try:
                    return self.reader.fill()
                except BlockingIOError:
                    continue
        left = deadline.remaining()
        if left <= 0 or not self._readable.poll(left * 1000):
            raise DeadlineExceededError("the node did not answer in time")
        try:
            self.reader.fill()
        except BlockingIOError:
            return None

    def _dispatch(self, response: pb.Response) -> None:
        if response.id not in self._discarded:
            with self._state:
                if response.id in self._waiting:
                    self._waiting[response.id] = response
                    if self._sleepers:
                        self._state.notify_all()
                    return
        self._discard(response)

    def fail(self, error: KvasirError) -> None:
        """Ends the connection; every call that waits raises ``error``."""
        with self._state:
            if self.broken is None:
                self.broken = (
                    error
                    if isinstance(error, NodeUnavailableError | ClosedError)
                    else NodeUnavailableError(f"the connection was ended: {error.message}")
                )
            self._state.notify_all()
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Ends the connection, waits until no thread reads it, and closes the descriptor."""
        self.fail(ClosedError("the attachment was closed"))
        self._reading.acquire(timeout=1.0)
        with self._sending:
            self.socket.close()
