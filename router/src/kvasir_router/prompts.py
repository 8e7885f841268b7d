"""What is known of a request's prompt: its tokens, and who holds how many of them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from kvasir_router.engines import Engine
from kvasir_router.off_loop import off_loop
from kvasir_router.openai_api import BYTES_PER_TOKEN, encoded, prompt_tokens, tokenize_request
from kvasir_router.routing_policy import Prompt
from kvasir_router.scores import PrefixScores

_log = logging.getLogger("kvasir.router")


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
        tokens = await off_loop(request_bytes, prompt_tokens, body)
        if self._scores is None:
            return Prompt(len(tokens) if tokens else request_bytes // BYTES_PER_TOKEN + 1, {})
        if tokens is None and engines:
            nearest = min(engines, key=lambda engine: engine.tokens)
            tokens = await self._tokenized(body, request_bytes, headers, nearest)
        if tokens is None:
            return Prompt(request_bytes // BYTES_PER_TOKEN + 1, {})
        try:
            held = await asyncio.wait_for(self._scores.held_tokens(tokens, body, engines), self._bound)
        except asyncio.TimeoutError:
            held = {}
        except Exception:  # whatever was in the request: it is balanced, and not refused
            _log.exception("what nodes hold of a prompt could not be found out")
            held = {}
        return Prompt(len(tokens), held)

    async def _tokenized(
        self, body: Mapping[str, Any], request_bytes: int, headers: Mapping[str, str], engine: Engine
    ) -> list[int] | None:
        request = tokenize_request(body)
        if request is None:
            return None
        bound = aiohttp.ClientTimeout(total=self._bound)
        try:
            asked = await off_loop(request_bytes, encoded, request)
            async with self._http.post(f"{engine.url}/tokenize", data=asked, headers=headers, timeout=bound) as answer:
                if answer.status != 200:
                    return None
                text = await answer.read()
            return await off_loop(len(text), _ids, text)
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError, AttributeError):
            return None


def _ids(answer: bytes) -> list[int] | None:
    return prompt_tokens({"prompt": json.loads(answer).get("tokens")})
