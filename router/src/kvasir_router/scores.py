"""How much of a prompt each engine's node holds."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import aiohttp
from kvasir import KvasirError
from kvasir.aio import AsyncClient
from kvasir_vllm.shared.chunks import key_of
from kvasir_vllm.shared.errors import UnsupportedEngineError
from kvasir_vllm.shared.hashing import block_hashes
from kvasir_vllm.shared.published import METRIC, Published
from prometheus_client.parser import text_string_to_metric_families

from kvasir_router.engines import Engine, reason
from kvasir_router.metrics import Metrics
from kvasir_router.off_loop import off_loop
from kvasir_router.openai_api import BYTES_PER_TOKEN

_log = logging.getLogger("kvasir.router")
_ATTACH_SECONDS: Final = 10.0
_LEARN_EVERY_SECONDS: Final = 2.0


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


class NodeScores:
    """Asks the node beside each engine by a lookup that leases nothing.

    The keys and the namespace are the engine's own: it publishes what they are made of
    (:mod:`kvasir_vllm.shared.published`) from its first request on; until then nothing is known of it. This process has
    to be allowed to open the node's socket, and has to have the engines' PYTHONHASHSEED where they have one.
    """

    def __init__(self, http: Callable[[], aiohttp.ClientSession], metrics: Metrics, bound: float, token: bytes) -> None:
        self._http = http
        self._metrics = metrics
        self._bound = bound
        self._token = token
        self._nodes: dict[Engine, _EngineNode] = {}
        self._learning: set[asyncio.Task[None]] = set()

    async def held_tokens(
        self, tokens: Sequence[int], body: Mapping[str, Any], engines: Sequence[Engine]
    ) -> dict[Engine, int]:
        """See :class:`PrefixScores`."""
        asked = [engine for engine in engines if engine.settings.node is not None]
        hashes = _PromptHashes(tokens, str(body.get("cache_salt") or ""))
        found = await asyncio.gather(*(self._of(engine, hashes) for engine in asked))
        return dict(zip(asked, found, strict=True))

    async def _of(self, engine: Engine, prompt: _PromptHashes) -> int:
        node = self._nodes.setdefault(engine, _EngineNode())
        if node.client is None or node.published is None:
            self._learn(engine, node)
            return 0
        namespace = node.published.namespace
        try:
            hashes = await prompt.of(namespace.hash_algorithm.removeprefix("vllm "), node.published.hash_tokens)
            step = namespace.chunk_tokens // node.published.hash_tokens
            keys = b"".join(key_of(found) for found in hashes[step - 1 :: step])
            if not keys:
                return 0
            lease = await node.client.lookup(keys, peek=True, deadline=self._bound)
        except (KvasirError, UnsupportedEngineError, UnicodeError) as error:
            self._metrics.score_failures.labels(engine.url).inc()
            if isinstance(error, UnsupportedEngineError) and not node.warned:
                node.warned = True
                _log.warning("engine %s: no prefix scores: %s", engine.url, error)
            return 0
        # What is on its way or on the node's SSD is loaded as well, only later.
        return (lease.hit_chunks + lease.pending_chunks) * namespace.chunk_tokens

    def _learn(self, engine: Engine, node: _EngineNode) -> None:
        """Beside the requests: they do not wait for it."""
        if node.learning or time.monotonic() < node.not_before:
            return
        node.learning = True
        task = asyncio.create_task(self._learned(engine, node))
        self._learning.add(task)
        task.add_done_callback(self._learning.discard)

    async def _learned(self, engine: Engine, node: _EngineNode) -> None:
        try:
            published = await self._published(engine)
            namespace = published.with_seed(os.environ.get("PYTHONHASHSEED")) if published else None
            if published is not None and namespace is None and not node.warned:
                node.warned = True
                _log.warning(
                    "engine %s: no prefix scores: its PYTHONHASHSEED is another one than this router's", engine.url
                )
            if published is not None and namespace is not None:
                node.client = await AsyncClient.connect(
                    str(engine.settings.node),
                    namespace=namespace,
                    shards=published.shards,
                    name="router",
                    token=self._token,
                    attach_deadline=_ATTACH_SECONDS,
                )
                node.published = replace(published, namespace=namespace)
        except (KvasirError, OSError, aiohttp.ClientError, asyncio.TimeoutError, ValueError) as error:
            _log.info("engine %s: no prefix scores yet: %s", engine.url, reason(error))
        finally:
            node.learning = False
            node.not_before = time.monotonic() + _LEARN_EVERY_SECONDS

    async def _published(self, engine: Engine) -> Published | None:
        bound = aiohttp.ClientTimeout(total=_ATTACH_SECONDS)
        async with self._http().get(f"{engine.url}/metrics", timeout=bound) as answer:
            text = await answer.text()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == METRIC and sample.value == 1:
                    return Published.parse(sample.labels["identity"])
        return None

    async def close(self) -> None:
        """Ends the attachments."""
        for task in self._learning:
            task.cancel()
        for node in self._nodes.values():
            if node.client is not None:
                await node.client.close()


class _PromptHashes:
    """The block hashes of one prompt: made once for all engines that hash alike, and not in the event loop."""

    def __init__(self, tokens: Sequence[int], cache_salt: str) -> None:
        self._tokens = tokens
        self._cache_salt = cache_salt
        self._made: dict[tuple[str, int], asyncio.Future[list[bytes]]] = {}

    async def of(self, algorithm: str, block_tokens: int) -> list[bytes]:
        """See :func:`kvasir_vllm.shared.hashing.block_hashes`."""
        made = self._made.get((algorithm, block_tokens))
        if made is None:
            work = off_loop(
                BYTES_PER_TOKEN * len(self._tokens),
                block_hashes,
                algorithm,
                os.environ.get("PYTHONHASHSEED") or None,
                self._tokens,
                block_tokens,
                cache_salt=self._cache_salt,
            )
            made = self._made[algorithm, block_tokens] = asyncio.ensure_future(work)
        return await made


@dataclass
class _EngineNode:
    """What is known of one engine's node."""

    client: AsyncClient | None = None
    published: Published | None = None
    learning: bool = False
    warned: bool = False
    not_before: float = 0.0
