"""A log that stays short while the same trouble comes with every request."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

#: The same trouble is logged once in this many seconds.
LOG_SECONDS: Final = 30.0


class SeldomLog:
    """Logs each kind of trouble at most once in ``seconds``, with how often it came in between. Thread-safe.

    Args:
        logger: where it goes.
        seconds: ``math.inf``: once, until :meth:`clear`.
    """

    def __init__(self, logger: logging.Logger, seconds: float = LOG_SECONDS) -> None:
        self._logger = logger
        self._seconds = seconds
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def warn(self, trouble: str, why: object = None, *, kind: str | None = None, trace: bool = False) -> None:
        """Logs it, or counts it.

        Args:
            trouble: what does not work, and what happens instead.
            why: follows it.
            kind: what counts as the same trouble; None: the same text.
            trace: with the traceback of the exception that is handled now.
        """
        key = trouble if kind is None else kind
        now = time.monotonic()
        with self._lock:
            last = self._last.get(key)
            if last is not None and now - last < self._seconds:
                self._unsaid[key] = self._unsaid.get(key, 0) + 1
                return
            self._last[key] = now
            unsaid = self._unsaid.pop(key, 0)
        message = trouble if why is None else f"{trouble}: {why}"
        more = f" ({unsaid} more since the last line)" if unsaid else ""
        self._logger.warning("%s%s", message, more, exc_info=trace)

    def clear(self) -> None:
        """The trouble is over: the next of each kind is logged."""
        if self._last:
            with self._lock:
                self._last.clear()
                self._unsaid.clear()
