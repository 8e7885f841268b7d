"""How much of a prompt each engine's node holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from kvasir_vllm.router.engines import Engine


class PrefixScores(Protocol):
    """Answers how many leading tokens of a prompt need not be computed by an engine.

    An implementation never raises and answers within the time that it was made with; what it does not know is 0.
    """

    async def held_tokens(
        self, tokens: Sequence[int], body: Mapping[str, Any], engines: Sequence[Engine]
    ) -> dict[Engine, int]:
        """For each engine of which it knows.

        Args:
            tokens: the prompt's token ids.
            body: the request, for what else belongs to a block's hash (cache salt, adapter).
            engines: those that are asked about.
        """

    async def close(self) -> None:
        """Gives back what it holds."""
