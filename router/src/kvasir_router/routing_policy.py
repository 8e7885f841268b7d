"""Which engine a request goes to. Pure: given what is known, so that it can be tested without engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kvasir_router.engines import Engine
from kvasir_router.settings import Role


@dataclass(frozen=True)
class Prompt:
    """What choosing needs to know of a request.

    Attributes:
        tokens: its length; estimated where nobody has counted.
        held: leading tokens that each engine's node holds; engines that are missing hold none, as far as is known.
    """

    tokens: int
    held: Mapping[Engine, int]

    def lacking(self, engine: Engine) -> int:
        """Tokens that this engine would have to compute."""
        return max(self.tokens - self.held.get(engine, 0), 0)


@dataclass(frozen=True)
class Pair:
    """The engine that answers, and the one that computes the prompt before it; None: the same one does both."""

    decode: Engine
    prefill: Engine | None


def choose(candidates: Sequence[Engine], prompt: Prompt, load_weight: float) -> Engine | None:
    """The engine where the prompt costs least: tokens to compute there, plus a share of the tokens that wait there."""
    if not candidates:
        return None
    return min(candidates, key=lambda engine: (prompt.lacking(engine) + load_weight * engine.tokens, engine.picked))


def answering(engines: Sequence[Engine]) -> list[Engine]:
    """Those that may answer: the ones for decoding; any engine when there is none, since each can do both."""
    return [engine for engine in engines if engine.role is not Role.PREFILL] or list(engines)


def choose_prefill(
    engines: Sequence[Engine], decode: Engine, prompt: Prompt, prefill_min_tokens: int, load_weight: float
) -> Engine | None:
    """The engine that computes the prompt for ``decode``; None: it is not worth it, or there is none."""
    if decode.role is not Role.DECODE or prompt.lacking(decode) < max(prefill_min_tokens, 1):
        return None
    return choose([engine for engine in engines if engine.role is Role.PREFILL], prompt, load_weight)
