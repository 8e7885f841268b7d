"""An attached connection under an asyncio event loop. Everything here runs on the loop's thread."""

from __future__ import annotations

import asyncio
import math
import time
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import Final

from kvasir import _engine_pb2 as pb
from kvasir._attachment import Attachment
from kvasir._frames import frame_of
from kvasir._wire import BaseWire, result_of
from kvasir.deadline import Deadline
from kvasir.errors import ClosedError, DeadlineExceededError, KvasirError, NodeUnavailableError

#: How long a closing thread waits for the loop to let go of the socket.
_LEAVE_SECONDS: Final = 1.0
#: Requests that the node does not read, in frames of the largest size, until the connection is given up.
_UNSENT_FRAMES: Final = 4
_NOBODY: Final = None, 0.0


class AsyncWire(BaseWire):
    """Takes over the connection of an attachment that a blocking thread made.

    From then on only this object reads and writes its socket; ``attachment.wire`` keeps saying whether it is broken.
    """

    def __init__(self, attachment: Attachment, loop: asyncio.AbstractEventLoop) -> None:
        wire = attachment.wire
        super().__init__(wire.socket)
        self.attachment = attachment
        self.max_frame = wire.max_frame
        self.incarnation = wire.incarnation
        self._ids = wire._ids
        self._discarded = wire._discarded
        self.on_regions = wire.on_regions
        self._wire = wire
        self._loop = loop
        self._reader = wire.reader
        #: Calls, and when each gives up.
        self._waiting: dict[int, tuple[asyncio.Future[pb.Response], float]] = {}
        #: Rings no later than the first of them gives up. One for all: most calls are answered long before.
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf
        self._unsent = bytearray()
        # Kept: after the socket was closed it cannot be asked any more.
        self._descriptor = wire.socket.fileno()
        attachment.poster = self.post
        attachment.before_close = self._leave
        loop.add_reader(self._descriptor, self._on_readable)

    async def call(self, request: pb.Request, deadline: Deadline) -> pb.Response:
        """Sends, waits, and raises what the node answered as an error."""
        if self._wire.broken is not None:
            raise self._wire.broken
        identity = request.id = next(self._ids)
        request.deadline_ms = deadline.millis()
        frame = frame_of(request, self.max_frame)
        answer: asyncio.Future[pb.Response] = self._loop.create_future()
        ends_at = time.monotonic() + deadline.remaining()
        self._waiting[identity] = answer, ends_at
        if ends_at < self._rings_at:
            self._ring(ends_at)
        try:
            self._send(frame)
            response = await answer
        except BaseException:
            self._give_up(identity, answer)
            raise
        return result_of(response)

    def _give_up(self, identity: int, answer: asyncio.Future[pb.Response]) -> None:
        """Nobody takes this call's answer any more: what it granted, or will grant, goes back."""
        if self._waiting.pop(identity, None) is not None:
            self._discarded.add(identity)
        if not answer.done() or answer.cancelled():
            return
        # An error is looked at, so that asyncio does not report it: a failure to send ends all calls, this one too.
        if answer.exception() is None:
            # The answer came, and the task was cancelled before it ran again.
            self._discarded.add(identity)
            with suppress(KvasirError):
                self._discard(answer.result())

    def _ring(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = at
        self._timer = self._loop.call_later(max(at - time.monotonic(), 0), self._expire)

    def _expire(self) -> None:
        """Ends the calls whose deadline has passed."""
        self._timer, self._rings_at = None, math.inf
        now, following = time.monotonic(), math.inf
        for answer, ends_at in self._waiting.values():
            if ends_at > now:
                following = min(following, ends_at)
            elif not answer.done():
                answer.set_exception(DeadlineExceededError("the node did not answer in time"))
        if following < math.inf:
            self._ring(following)

    def post(self, request: pb.Request) -> None:
        """Sends without waiting for the answer, which is dropped when it comes."""
        if self._wire.broken is not None:
            return
        request.id = next(self._ids)
        request.deadline_ms = 1000
        frame = frame_of(request, self.max_frame)
        self._discarded.add(request.id)
        self._send(frame)

    def _send(self, frame: bytes) -> None:
        if len(self._unsent) > _UNSENT_FRAMES * self.max_frame:
            # What the frame would have given back is given back with the connection.
            silent = NodeUnavailableError(f"the node does not read its socket: {len(self._unsent)} bytes wait for it")
            self._fail(silent)
            raise silent
        sent = 0
        if not self._unsent:
            try:
                sent = self.socket.send(frame)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                broken = NodeUnavailableError(f"the connection to the node broke: {error}")
                self._fail(broken)
                raise broken from error
        if sent < len(frame):
            if not self._unsent:
                self._loop.add_writer(self._descriptor, self._on_writable)
            self._unsent += frame[sent:]

    def _on_writable(self) -> None:
        try:
            del self._unsent[: self.socket.send(self._unsent)]
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(NodeUnavailableError(f"the connection to the node broke: {error}"))
            return
        if not self._unsent:
            self._loop.remove_writer(self._descriptor)

    def _on_readable(self) -> None:
        try:
            self._reader.fill()
            while (response := self._reader.next()) is not None:
                self._check(response)
                self._dispatch(response)
        except BlockingIOError:
            return
        except KvasirError as error:
            self._fail(error)

    def _dispatch(self, response: pb.Response) -> None:
        answer, _ = self._waiting.pop(response.id, _NOBODY)
        if answer is None:
            self._discard(response)
        elif answer.done():
            # Its caller gave up and has not run yet.
            self._discarded.add(response.id)
            self._discard(response)
        else:
            answer.set_result(response)

    def _fail(self, error: KvasirError) -> None:
        self._wire.fail(error)
        self._stop()

    def _stop(self) -> None:
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_writer(self._descriptor)
        if self._timer is not None:
            self._timer.cancel()
        for answer, _ in self._waiting.values():
            if not answer.done():
                answer.set_exception(self._wire.broken or ClosedError("the attachment was closed"))
        self._waiting.clear()

    def _leave(self) -> None:
        """Before the socket is closed, by whatever thread."""
        if self._loop.is_closed():
            return
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            self._stop()
        else:
            left = asyncio.run_coroutine_threadsafe(self._leave_soon(), self._loop)
            try:
                left.result(timeout=_LEAVE_SECONDS)
            except FutureTimeoutError:
                # The loop does not run: it cannot read the socket either, and asyncio drops closed descriptors.
                left.cancel()

    async def _leave_soon(self) -> None:
        self._stop()
