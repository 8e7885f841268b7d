"""Time that a test moves."""

from __future__ import annotations


class Clock:
    """Instead of ``time.monotonic``."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now
