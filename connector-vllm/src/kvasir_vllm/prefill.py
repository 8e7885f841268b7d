"""How fast the engine computes prompts: what a load has to beat."""

from __future__ import annotations

import time
from collections.abc import Callable

_FEWEST_TOKENS = 128
_LONGEST_STEP_S = 5.0
_WEIGHT = 0.2


class PrefillSpeed:
    """Measured between steps that compute many tokens: those are prefill, and decoding in them costs little."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = 0.0
        self._tokens = 0
        #: 0 until it was measured.
        self.tokens_per_s = 0.0

    def scheduled(self, tokens: int) -> None:
        """A step with so many tokens begins; the one before has ended."""
        now = self._clock()
        if self._tokens >= _FEWEST_TOKENS and 0 < now - self._began < _LONGEST_STEP_S:
            speed = self._tokens / (now - self._began)
            self.tokens_per_s += (speed - self.tokens_per_s) * (_WEIGHT if self.tokens_per_s else 1.0)
        self._began, self._tokens = now, tokens
