"""A circuit breaker: after a run of failures it stops asking, and lets one probe through now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

FAILURES = 3
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


class Breaker:
    """Thread-safe. ``allow`` before an attempt, then ``succeeded`` or ``failed``.

    Closed until ``failures`` attempts in a row have failed. Open for a pause, in which nothing is allowed; then one
    attempt is, and its outcome closes the breaker or doubles the pause.

    Args:
        failures: in a row.
        first_pause, longest_pause: seconds.
        clock: seconds; monotonic.
    """

    def __init__(
        self,
        failures: int = FAILURES,
        clock: Callable[[], float] = time.monotonic,
        *,
        first_pause: float = FIRST_PAUSE_S,
        longest_pause: float = LONGEST_PAUSE_S,
    ) -> None:
        self._failures = failures
        self._clock = clock
        self._first_pause, self._longest_pause = first_pause, longest_pause
        self._lock = threading.Lock()
        self._run = 0
        self._pause = 0.0
        self._until = 0.0

    @property
    def is_open(self) -> bool:
        """True while attempts are refused, the probe excepted."""
        return self._pause > 0.0

    def allow(self) -> bool:
        """Whether to try now. A caller that got True reports the outcome, if it says something about the node."""
        if self._pause == 0.0:
            return True
        with self._lock:
            now = self._clock()
            if self._pause == 0.0:
                return True
            if now < self._until:
                return False
            # One probe at a time: the next is due a pause from now, should this one never report.
            self._until = now + self._pause
            return True

    def succeeded(self) -> bool:
        """Closes; True when it was open."""
        if not self._run:
            return False
        with self._lock:
            was_open, self._run, self._pause = self._pause > 0.0, 0, 0.0
            return was_open

    def failed(self) -> bool:
        """Counts; True when this opened it."""
        with self._lock:
            self._run += 1
            if self._pause > 0.0:
                self._pause = min(self._pause * 2, self._longest_pause)
                self._until = self._clock() + self._pause
                return False
            if self._run >= self._failures:
                self._pause = self._first_pause
                self._until = self._clock() + self._pause
                return True
            return False
