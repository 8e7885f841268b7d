"""A point in time after which a call gives up; every public call takes one."""

from __future__ import annotations

import time
from typing import Final

_MAX_MILLIS: Final = 0xFFFFFFFF


class Deadline:
    """A monotonic point in time; passes through nested calls without growing."""

    __slots__ = ("at",)

    def __init__(self, at: float) -> None:
        self.at: Final = at

    @staticmethod
    def after(seconds: float) -> Deadline:
        """The point ``seconds`` from now."""
        return Deadline(time.monotonic() + seconds)

    @staticmethod
    def of(value: Deadline | float | None, default: float) -> Deadline:
        """What a caller's argument means: a deadline, seconds from now, or the default."""
        if isinstance(value, Deadline):
            return value
        return Deadline(time.monotonic() + (default if value is None else value))

    def remaining(self) -> float:
        """Seconds left; negative once it passed."""
        return self.at - time.monotonic()

    def millis(self) -> int:
        """Whole milliseconds left, at least 1: on the wire 0 means the node's default."""
        left = int((self.at - time.monotonic()) * 1000)
        if 0 < left < _MAX_MILLIS:
            return left
        return 1 if left <= 0 else _MAX_MILLIS
