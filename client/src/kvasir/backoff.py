"""Pauses between attempts that fail."""

from __future__ import annotations

import time
from collections.abc import Callable


class Backoff:
    """The first pause, then twice as long each time, to the longest. Not thread-safe.

    Args:
        first, longest: seconds.
        clock: seconds; monotonic.
    """

    def __init__(self, first: float, longest: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._first, self._longest = first, longest
        self._clock = clock
        self._pause = 0.0
        self._until = 0.0

    @property
    def due(self) -> bool:
        """Whether the pause after the last failure is over."""
        return self._clock() >= self._until

    def failed(self) -> float:
        """An attempt failed; the seconds until the next is due."""
        self._pause = min(max(self._pause * 2, self._first), self._longest)
        self._until = self._clock() + self._pause
        return self._pause

    def reset(self) -> None:
        """An attempt succeeded, or the next one is another matter: it is due at once."""
        self._pause = self._until = 0.0
