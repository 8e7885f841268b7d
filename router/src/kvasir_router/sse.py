"""Server-sent events, as far as a front needs them: it passes on whole events only."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

_END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
#: A longer event is passed on in parts, so that no engine fills the router's memory.
MAX_EVENT_BYTES: Final = 8 << 20


class WholeEvents:
    """Cuts a byte stream behind the last whole event.

    An engine that dies in the middle of an event leaves half of it behind; a client that is given the half reads broken
    JSON instead of the error that follows.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> bytes:
        """The events that are whole with this piece; may be empty."""
        text = self._rest + piece
        # From where the end of an event may begin: the rest was searched before.
        start = max(len(self._rest) - 3, 0)
        end = 0
        for found in _END.finditer(text, start):
            end = found.end()
        if len(text) - end > MAX_EVENT_BYTES:
            end = len(text)
        self._rest = text[end:]
        return text[:end]

    def rest(self) -> bytes:
        """What came after the last whole event; for a stream that ended in order."""
        rest, self._rest = self._rest, b""
        return rest


def event(data: Mapping[str, Any]) -> bytes:
    """One event with JSON data."""
    return b"data: " + json.dumps(data).encode() + b"\n\n"
