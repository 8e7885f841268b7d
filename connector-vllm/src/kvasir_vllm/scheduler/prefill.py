"""How fast the engine computes prompts: what a load has to beat."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_FEWEST_TOKENS = 128
_LONGEST_STEP_S = 5.0
_WEIGHT = 0.2
#: A step with fewer prefill tokens for each decoded one is left out: decoding takes too much of its time.
_PREFILL_TO_DECODE = 4
#: Steps in flight that are kept; vLLM has one for each pipeline stage, and one more.
_MOST_IN_FLIGHT = 64


@dataclass(frozen=True)
class _Step:
    began: float
    prefill: int
    decode: int


class PrefillSpeed:
    """Measured from when a step can run to its output, in steps that compute nearly nothing but prompts.

    vLLM schedules a step while those before it still run: a step begins when it is scheduled, or with the output of the
    one before it, whichever is later. Outputs come in the order of the steps.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._number = 0
        self._steps: dict[int, _Step] = {}
        self._last_output = 0.0
        #: 0 until it was measured.
        self.tokens_per_s = 0.0

    def scheduled(self, prefill: int, decode: int) -> int:
        """A step with so many tokens is scheduled; its number, 0 when it computes nothing."""
        if not prefill + decode:
            return 0
        self._number += 1
        self._steps[self._number] = _Step(self._clock(), prefill, decode)
        if len(self._steps) > _MOST_IN_FLIGHT:
            del self._steps[next(iter(self._steps))]
        return self._number

    def ended(self, number: int) -> None:
        """The output of the step with this number has arrived."""
        step = self._steps.pop(number, None)
        if step is None:
            return
        for earlier in [other for other in self._steps if other < number]:
            del self._steps[earlier]
        now = self._clock()
        seconds = now - max(step.began, self._last_output)
        self._last_output = now
        if step.prefill < max(_FEWEST_TOKENS, _PREFILL_TO_DECODE * step.decode) or not 0 < seconds < _LONGEST_STEP_S:
            return
        speed = step.prefill / seconds
        self.tokens_per_s += (speed - self.tokens_per_s) * (_WEIGHT if self.tokens_per_s else 1.0)


def prefill_tokens(request: Any, scheduled: int) -> int:
    """Tokens of the prompt among those that a step computes for ``request``, before vLLM counts them as computed."""
    return max(0, min(scheduled, int(request.num_prompt_tokens - request.num_computed_tokens)))
