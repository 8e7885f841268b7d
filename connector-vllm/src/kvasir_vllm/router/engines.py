"""The engines as the router sees them: whether they answer, what they serve, and what they have to do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp

from kvasir_vllm.router.settings import EngineSettings, Role, RouterSettings

_log = logging.getLogger("kvasir.router")
#: Health probes between two looks at what models an engine serves.
_MODELS_EVERY = 30


@dataclass(eq=False)
class Engine:
    """One engine. Owned by the event loop.

    Attributes:
        up: it answered its last probe, and no request since found it gone.
        models: the ids it serves; None: not known, so it may serve any.
        requests: sent to it by this router and not ended.
        tokens: prompt tokens of those requests.
        picked: when it was last picked, as a count of picks; among equals the one that waited longest is next.
        trouble: why it is not up.
    """

    settings: EngineSettings
    up: bool = False
    models: frozenset[str] | None = None
    requests: int = 0
    tokens: int = 0
    picked: int = 0
    trouble: str = "not asked yet"
    _probes: int = field(default=0, repr=False)

    @property
    def url(self) -> str:
        """Its name for people and metrics."""
        return self.settings.url

    @property
    def role(self) -> Role:
        """What it is for."""
        return self.settings.role

    def serves(self, model: str | None) -> bool:
        """Whether a request for this model may go to it."""
        return model is None or self.models is None or model in self.models

    @contextmanager
    def serving(self, tokens: int) -> Iterator[None]:
        """Counts a request with this prompt among what the engine has to do."""
        self.requests += 1
        self.tokens += tokens
        try:
            yield
        finally:
            self.requests -= 1
            self.tokens -= tokens

    def lost(self, why: str) -> None:
        """A request found it gone: it gets none until a probe is answered again."""
        if self.up:
            _log.warning("engine %s is down: %s", self.url, why)
        self.up = False
        self.trouble = why

    def answered(self) -> None:
        """A probe was answered."""
        if not self.up:
            _log.info("engine %s is up", self.url)
        self.up = True
        self.trouble = ""


class Fleet:
    """All engines, and the probes that look after them."""

    def __init__(self, settings: RouterSettings, http: aiohttp.ClientSession) -> None:
        self.engines = [Engine(engine) for engine in settings.engines]
        self._every = settings.probe_every
        self._bound = aiohttp.ClientTimeout(total=settings.timeouts.probe)
        self._http = http

    def up(self, model: str | None = None) -> list[Engine]:
        """Those that answer and serve this model."""
        return [engine for engine in self.engines if engine.up and engine.serves(model)]

    def models(self) -> list[str]:
        """Everything that an engine that answers says it serves."""
        return sorted({model for engine in self.up() for model in engine.models or ()})

    async def watch(self) -> None:
        """Probes every engine until it is cancelled."""
        await asyncio.gather(*(self._watch(engine) for engine in self.engines))

    async def _watch(self, engine: Engine) -> None:
        while True:
            await self.probe(engine)
            await asyncio.sleep(self._every)

    async def probe(self, engine: Engine) -> None:
        """One probe: is it healthy, and from time to time, what does it serve."""
        try:
            async with self._http.get(f"{engine.url}/health", timeout=self._bound) as answer:
                if answer.status != 200:
                    engine.lost(f"/health answers {answer.status}")
                    return
            if not engine.up or engine._probes % _MODELS_EVERY == 0:
                engine.models = await self._models(engine)
            engine._probes += 1
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
            engine.lost(f"/health: {reason(error)}")
        else:
            engine.answered()

    async def _models(self, engine: Engine) -> frozenset[str] | None:
        async with self._http.get(f"{engine.url}/v1/models", timeout=self._bound) as answer:
            if answer.status != 200:
                return None
            try:
                listed = await answer.json(content_type=None)
                return frozenset(str(model["id"]) for model in listed["data"])
            except (ValueError, KeyError, TypeError):
                _log.warning(
                    "engine %s: /v1/models is not what the OpenAI API says; any model is sent there", engine.url
                )
                return None


def reason(error: BaseException) -> str:
    """An exception in a few words; some have no message of their own."""
    if isinstance(error, asyncio.TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
