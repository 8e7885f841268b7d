"""What is known of a request's prompt: its tokens, and who holds how many of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from kvasir_vllm.router.choice import Prompt
from kvasir_vllm.router.engines import Engine
from kvasir_vllm.router.openai_api import BYTES_PER_TOKEN, prompt_tokens, tokenize_request
from kvasir_vllm.router.scores import PrefixScores


class Prompts:
    """Makes a :class:`Prompt` of a request. Asks an engine for token ids only when there are scores to ask for."""

    def __init__(self, http: aiohttp.ClientSession, scores: PrefixScores | None, bound: float) -> None:
        self._http = http
        self._scores = scores
        self._bound = bound

    async def of(
        self, body: Mapping[str, Any], request_bytes: int, headers: Mapping[str, str], engines: Sequence[Engine]
    ) -> Prompt:
        """Never raises, and takes at most twice the bound for scores."""
        tokens = prompt_tokens(body)
        if self._scores is None:
            return Prompt(len(tokens) if tokens else request_bytes // BYTES_PER_TOKEN + 1, {})
        if tokens is None and engines:
            tokens = await self._tokenized(body, headers, min(engines, key=lambda engine: engine.tokens))
        if tokens is None:
            return Prompt(request_bytes // BYTES_PER_TOKEN + 1, {})
        return Prompt(len(tokens), await self._scores.held_tokens(tokens, body, engines))

    async def _tokenized(self, body: Mapping[str, Any], headers: Mapping[str, str], engine: Engine) -> list[int] | None:
        request = tokenize_request(body)
        if request is None:
            return None
        bound = aiohttp.ClientTimeout(total=self._bound)
        try:
            async with self._http.post(
                f"{engine.url}/tokenize", json=request, headers=headers, timeout=bound
            ) as answer:
                if answer.status != 200:
                    return None
                found = prompt_tokens({"prompt": (await answer.json(content_type=None)).get("tokens")})
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError, AttributeError):
            return None
        return found
