"""What a test network does to the packets of one direction between two nodes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Conditions:
    """One direction of one pair.

    ``loss``, ``reorder`` and ``duplicate`` are shares of packets, 0 to 1. ``delay`` is seconds added one way;
    ``jitter`` is a uniform part on top, 0 to ``jitter`` seconds, that keeps the order. A reordered packet skips the
    delay, and so overtakes those that wait. ``blocked``: nothing passes.
    """

    loss: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    reorder: float = 0.0
    duplicate: float = 0.0
    blocked: bool = False

    def __post_init__(self) -> None:
        for name in ("loss", "reorder", "duplicate"):
            share = getattr(self, name)
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"{name} is a share, 0 to 1; seen: {share}")
        if not (0.0 <= self.delay <= 60.0 and 0.0 <= self.jitter <= 60.0):
            raise ValueError(f"delay and jitter are 0 to 60 seconds; seen: {self.delay} and {self.jitter}")
        if self.reorder and not self.delay:
            raise ValueError("reorder needs a delay: a packet overtakes only those that wait")

    @property
    def needs_relay(self) -> bool:
        """True when packets have to pass through user space."""
        return bool(self.delay or self.jitter or self.duplicate)


CLEAR = Conditions()
"""Nothing is done to the packets."""
