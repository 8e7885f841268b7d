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
from kvasir.deadline import Deadline
from kvasir.errors import (
    ClosedError,
    DeadlineExceededError,
    KvasirError,
    NodeUnavailableError,
    ProtocolViolationError,
    error_of,
)
from kvasir.records import SlotStatus, slot_array

#: Answers to fire-and-forget requests that may lie unread in the socket.
_MAX_UNREAD: Final = 32


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

    def _checked(self, response: pb.Response) -> pb.Response:
        if self.incarnation != response.incarnation:
            if self.incarnation:
                raise NodeUnavailableError("the node's incarnation changed within a connection")
            if len(response.incarnation) != 16:
                raise ProtocolViolationError(f"an incarnation has {len(response.incarnation)} bytes; expected 16")
            self.incarnation = response.incarnation
        if response.id == 0:
            raise error_of(response.error)
        return response

    def _discard(self, response: pb.Response) -> None:
        """Gives back what a late answer granted, so that a call given up leaves nothing held."""
        if response.id not in self._discarded:
            raise ProtocolViolationError(f"the node answered request {response.id}, which was never sent")
        self._discarded.remove(response.id)
        if self.on_regions is not None:
            self.on_regions(
                itertools.chain(response.lookup.regions, response.reserve.regions, response.resolve.regions)
            )
        if response.HasField("lookup") and response.lookup.lease:
            self.post(pb.Request(release=pb.Release(leases=[response.lookup.lease])))
        elif response.HasField("reserve"):
            slots = slot_array(response.reserve.slots)
            granted = slots[slots["status"] == SlotStatus.GRANTED]
            if len(granted):
                self.post(pb.Request(abort=pb.Abort(slots=granted.tobytes())))


def result_of(response: pb.Response) -> pb.Response:
    """The response, unless it is an error, which is raised typed."""
    if response.HasField("error"):
        raise error_of(response.error)
    return response


class Wire(BaseWire):
    """Blocking face. Thread-safe: several calls may be in flight.

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
        self._state = threading.Condition()
        self._waiting: dict[int, pb.Response | None] = {}
        self._reading = False

    @staticmethod
    def connect(path: str, deadline: Deadline, spin: float = 0.0) -> Wire:
        """Connects to the node's socket."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(max(deadline.remaining(), 0.001))
            sock.connect(path)
        except OSError as error:
            sock.close()
            raise NodeUnavailableError(f"no node answers on {path}: {error}") from error
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
        with self._state:
            if self.broken is not None:
                raise self.broken
            self._waiting[identity] = None
        try:
            self._send(frame, deadline)
        except BaseException:
            with self._state:
                self._waiting.pop(identity, None)
            raise
        return result_of(self._await(identity, deadline))

    def post(self, request: pb.Request) -> None:
        """Sends without waiting; reads what has arrived when many answers lie unread."""
        request.id = next(self._ids)
        request.deadline_ms = 1000
        with self._state:
            if self.broken is not None:
                return
            self._discarded.add(request.id)
            crowded = len(self._discarded) > _MAX_UNREAD and not self._reading
            if crowded:
                self._reading = True
        if crowded:
            self._drain()
        self._send(frame_of(request, self.max_frame), Deadline.after(1.0))

    def _drain(self) -> None:
        try:
            while True:
                response = self.reader.next()
                if response is None:
                    self.reader.fill()
                else:
                    self._dispatch(self._checked(response))
        except BlockingIOError:
            pass
        except KvasirError as error:
            self.fail(error)
        finally:
            self._stop_reading()

    def _send(self, frame: bytes, deadline: Deadline) -> None:
        if not self._sending.acquire(timeout=max(deadline.remaining(), 0)):
            raise DeadlineExceededError("other requests still wait to be sent")
        try:
            rest = memoryview(frame)
            while rest:
                try:
                    rest = rest[self.socket.send(rest) :]
                except BlockingIOError:
                    left = deadline.remaining()
                    if left <= 0 or not self._writable.poll(left * 1000):
                        error = DeadlineExceededError("the node does not read its socket")
                        if len(rest) < len(frame):
                            self.fail(error)
                        raise error from None
                except OSError as error:
                    broken = NodeUnavailableError(f"the connection to the node broke: {error}")
                    self.fail(broken)
                    raise broken from error
        finally:
            self._sending.release()

    def _await(self, identity: int, deadline: Deadline) -> pb.Response:
        with self._state:
            while True:
                response = self._waiting[identity]
                if response is not None:
                    del self._waiting[identity]
                    return response
                if self.broken is not None:
                    del self._waiting[identity]
                    raise self.broken
                if not self._reading:
                    self._reading = True
                    break
                left = deadline.remaining()
                if left <= 0:
                    self._abandon(identity)
                    raise DeadlineExceededError("the node did not answer in time")
                self._state.wait(left)
        return self._read_until(identity, deadline)

    def _abandon(self, identity: int) -> None:
        self._waiting.pop(identity, None)
        self._discarded.add(identity)

    def _read_until(self, identity: int, deadline: Deadline) -> pb.Response:
        """As the one thread that reads: hands out answers until this thread's own is there."""
        answered = False
        try:
            while True:
                response = self.reader.next()
                if response is None:
                    self._fill(deadline)
                elif self._checked(response).id == identity:
                    answered = True
                    return response
                else:
                    self._dispatch(response)
        except DeadlineExceededError:
            raise
        except KvasirError as error:
            self.fail(error)
            raise
        finally:
            with self._state:
                if answered or self.broken is not None:
                    self._waiting.pop(identity, None)
                else:
                    self._abandon(identity)
            self._stop_reading()

    def _stop_reading(self) -> None:
        with self._state:
            self._reading = False
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
        with self._state:
            if response.id in self._waiting:
                self._waiting[response.id] = response
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
        with self._state:
            self._state.wait_for(lambda: not self._reading, timeout=1.0)
        with self._sending:
            self.socket.close()
