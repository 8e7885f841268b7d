"""Frames of the engine API: a 4-byte little-endian length, then one message. Both faces read and write with this."""

from __future__ import annotations

import socket
import struct
from typing import Final

from kvasir import _engine_pb2 as pb
from kvasir.errors import InvalidArgumentError, NodeUnavailableError, ProtocolViolationError

_LENGTH: Final = struct.Struct("<I")
_FIRST_BUFFER: Final = 1 << 16
#: Until the node says its own limit.
_FIRST_MAX_FRAME: Final = 1 << 20


def frame_of(request: pb.Request, max_frame: int) -> bytes:
    """The bytes to send."""
    body = request.SerializeToString()
    if len(body) > max_frame:
        raise InvalidArgumentError(f"a request has {len(body)} bytes; the node takes {max_frame}: use fewer keys")
    return _LENGTH.pack(len(body)) + body


class FrameReader:
    """Cuts a socket's bytes into responses, in one buffer that is used again."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = bytearray(_FIRST_BUFFER)
        self._view = memoryview(self._buffer)
        self._begin = 0
        self._end = 0
        self.max_frame = _FIRST_MAX_FRAME

    def next(self) -> pb.Response | None:
        """A response that has arrived whole; None when more bytes are needed."""
        begin, end = self._begin, self._end
        if end - begin < 4:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer, begin)
        if length > self.max_frame:
            raise ProtocolViolationError(f"the node sent a frame of {length} bytes; the limit is {self.max_frame}")
        start = begin + 4
        stop = start + length
        if stop > end:
            self._make_space(4 + length)
            return None
        body = bytes(self._view[start:stop])
        if stop == end:
            self._begin = self._end = 0
        else:
            self._begin = stop
        try:
            return pb.Response.FromString(body)
        except Exception as error:  # protobuf's DecodeError has no common public base across its versions
            raise ProtocolViolationError(f"the node sent a frame that is no Response: {error}") from error

    def _make_space(self, needed: int) -> None:
        if self._begin + needed <= len(self._buffer):
            return
        rest = bytes(self._view[self._begin : self._end])
        if needed > len(self._buffer):
            self._buffer = bytearray(max(needed, 2 * len(self._buffer)))
            self._view = memoryview(self._buffer)
        self._buffer[: len(rest)] = rest
        self._begin, self._end = 0, len(rest)

    def fill(self) -> None:
        """Reads what the socket has.

        Raises:
            BlockingIOError: nothing now.
            NodeUnavailableError: the node closed the connection.
        """
        if self._end == len(self._buffer):
            self._make_space(len(self._buffer) - self._begin + 1)
        try:
            count = self._socket.recv_into(self._view[self._end :])
        except BlockingIOError:
            raise
        except OSError as error:
            raise NodeUnavailableError(f"the connection to the node broke: {error}") from error
        if count == 0:
            raise NodeUnavailableError("the node closed the connection")
        self._end += count
