"""One attempt at one engine: from sending the request to the first whole piece of the answer, then the rest of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp

from kvasir_router.engines import Engine, reason
from kvasir_router.settings import Timeouts
from kvasir_router.sse import WholeEvents

#: An answer that is no event stream is held back up to this size, so that it can be asked for again elsewhere.
MAX_HELD_BYTES: Final = 16 << 20
_PIECE_BYTES: Final = 64 << 10


class AttemptError(Exception):
    """The engine gave no answer that can be passed on. ``accepted``: it had the request, and may have worked on it."""

    def __init__(self, message: str, *, accepted: bool, gone: bool) -> None:
        super().__init__(message)
        self.accepted = accepted
        self.gone = gone


class BrokenAnswerError(Exception):
    """The answer ended in its middle, after a part of it was passed on."""


@dataclass
class UpstreamAnswer:
    """An answer that has begun: ``first`` is its first part, and :meth:`rest` what follows."""

    status: int
    headers: dict[str, str]
    first: bytes
    stream: bool
    complete: bool
    _response: aiohttp.ClientResponse
    _idle: float
    _events: WholeEvents

    async def rest(self) -> AsyncIterator[bytes]:
        """The other parts; of an event stream, whole events.

        Raises:
            BrokenAnswerError: the engine went away, or was silent for too long.
        """
        while not self.complete:
            try:
                piece = await asyncio.wait_for(self._response.content.read(_PIECE_BYTES), self._idle)
            except asyncio.TimeoutError as error:
                raise BrokenAnswerError(f"the engine was silent for {self._idle:g} s") from error
            except (aiohttp.ClientError, OSError) as error:
                raise BrokenAnswerError(f"the engine ended in the middle of its answer: {reason(error)}") from error
            if not piece:
                self.complete = True
                piece = self._events.rest() if self.stream else b""
            elif self.stream:
                piece = self._events.feed(piece)
            if piece:
                yield piece


_PASSED_BACK: Final = ("content-type", "content-encoding", "x-request-id", "retry-after", "www-authenticate")


@asynccontextmanager
async def attempt(
    http: aiohttp.ClientSession,
    engine: Engine,
    path: str,
    body: bytes,
    headers: Mapping[str, str],
    timeouts: Timeouts,
    first_byte: float,
) -> AsyncIterator[UpstreamAnswer]:
    """Sends the request and waits for the first part of the answer. The block's end ends it at the engine.

    Raises:
        AttemptError: nothing came that could be passed on.
    """
    bounds = aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect)
    response: aiohttp.ClientResponse | None = None
    try:
        try:
            posting = http.post(f"{engine.url}{path}", data=body, headers=headers, timeout=bounds)
            response, answer = await asyncio.wait_for(_begin(posting, timeouts.idle), first_byte)
        except aiohttp.ClientConnectorError as error:
            raise AttemptError(reason(error), accepted=False, gone=True) from error
        except aiohttp.ConnectionTimeoutError as error:
            raise AttemptError(f"no connection in {timeouts.connect:g} s", accepted=False, gone=True) from error
        except asyncio.TimeoutError as error:
            raise AttemptError(f"no answer in {first_byte:g} s", accepted=True, gone=False) from error
        except (aiohttp.ClientError, OSError) as error:
            raise AttemptError(reason(error), accepted=True, gone=True) from error
        yield answer
    finally:
        if response is not None:
            response.close()


async def _begin(
    posting: aiohttp.client._RequestContextManager, idle: float
) -> tuple[aiohttp.ClientResponse, UpstreamAnswer]:
    response = await posting
    try:
        # What is compressed, though nobody asked for that, is passed on as it is: there are no events to be seen in it.
        plain = response.headers.get("content-encoding", "identity") == "identity"
        stream = plain and response.headers.get("content-type", "").startswith("text/event-stream")
        events = WholeEvents()
        held = bytearray()
        complete = False
        while not complete and len(held) <= MAX_HELD_BYTES and not (stream and held):
            piece = await response.content.read(_PIECE_BYTES)
            complete = not piece
            if complete and stream:
                held += events.rest()
            else:
                held += events.feed(piece) if stream else piece
    except BaseException:
        response.close()
        raise
    headers = {name: response.headers[name] for name in _PASSED_BACK if name in response.headers}
    return response, UpstreamAnswer(response.status, headers, bytes(held), stream, complete, response, idle, events)
