"""The engines as the router sees them: whether they answer, what they serve, and what they have to do."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from kvasir_router.settings import EngineSettings, Role, RouterSettings

_log = logging.getLogger("kvasir.router")
#: Health probes between two looks at what models an engine serves.
_MODELS_EVERY = 30
#: Answers of an engine that wants to know who asks.
_UNAUTHENTICATED = frozenset({401, 403})
#: Seconds until a client's key is tried again at an engine that refused to list its models for it.
_ASK_AGAIN_SECONDS = 5.0


@dataclass(eq=False)
class Engine:
    """One engine. Owned by the event loop.

    Attributes:
        up: it answers its probes, and no request since the last one found it gone.
        models: the ids that it served when it was last asked; None: not known, so it may serve any.
        guarded: it tells its models only to who has its API key, and the router has not.
        requests: sent to it by this router and not ended.
        tokens: prompt tokens of those requests.
        picked: when it was last picked, as a count of picks; among equals the one that waited longest is next.
        trouble: why it is not up.
    """

    settings: EngineSettings
    up: bool = False
    models: frozenset[str] | None = None
    guarded: bool = False
    requests: int = 0
    tokens: int = 0
    picked: int = 0
    trouble: str = "not asked yet"
    _probes: int = field(default=0, repr=False)
    _unanswered: int = field(default=0, repr=False)
    _ask_again: float = field(default=0.0, repr=False)

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
        """A request or a probe found it gone: it gets none until a probe is answered again."""
        if why != self.trouble:
            _log.warning("engine %s is down: %s", self.url, why)
        self.up = False
        self.trouble = why

    def silent(self, why: str, attempts: int) -> None:
        """A probe was not answered in time. A busy engine is late now and then: only several in a row count."""
        self._unanswered += 1
        if not self.up or self._unanswered >= attempts:
            self.lost(why)

    def alive(self) -> None:
        """It answered a request, so a probe that is late proves nothing."""
        self._unanswered = 0

    def answered(self) -> None:
        """A probe was answered."""
        if not self.up:
            _log.info("engine %s is up", self.url)
        self.up = True
        self.trouble = ""
        self._unanswered = 0


class Fleet:
    """All engines, and the probes that look after them."""

    def __init__(self, settings: RouterSettings, http: aiohttp.ClientSession) -> None:
        self.engines = [Engine(engine) for engine in settings.engines]
        self._keys = {engine: _key(engine.settings.api_key_file or settings.api_key_file) for engine in self.engines}
        self._every = settings.probe_every
        self._attempts = settings.probe_attempts
        self._bound = aiohttp.ClientTimeout(total=settings.timeouts.probe)
        self._http = http

    def up(self, model: str | None = None) -> list[Engine]:
        """Those that answer and serve this model."""
        return [engine for engine in self.engines if engine.up and engine.serves(model)]

    def may_serve(self, model: str | None) -> bool:
        """Whether any engine serves this model as far as is known, be it up or not."""
        return any(engine.serves(model) for engine in self.engines)

    def models(self) -> list[str]:
        """What the engines served when they were last asked, those that are down now included."""
        return sorted({model for engine in self.engines if not engine.guarded for model in engine.models or ()})

    async def models_for(self, headers: Mapping[str, str]) -> list[str]:
        """:meth:`models`, and those that guarded engines tell a client with these headers."""
        guarded = [engine for engine in self.engines if engine.up and engine.guarded]
        told = await asyncio.gather(*(self._told(engine, headers) for engine in guarded))
        return sorted({*self.models(), *(model for models in told for model in models or ())})

    async def learn(self, headers: Mapping[str, str]) -> None:
        """Asks guarded engines what they serve, by the key of a client: without it any model would be sent there."""
        if "authorization" not in headers:
            return
        now = time.monotonic()
        unknown = [
            engine
            for engine in self.engines
            if engine.up and engine.guarded and engine.models is None and now >= engine._ask_again
        ]
        for engine in unknown:
            engine._ask_again = now + _ASK_AGAIN_SECONDS
        for engine, models in zip(
            unknown, await asyncio.gather(*(self._told(engine, headers) for engine in unknown)), strict=True
        ):
            if models is not None:
                engine.models = models

    async def _told(self, engine: Engine, headers: Mapping[str, str]) -> frozenset[str] | None:
        given = {"authorization": headers["authorization"]} if "authorization" in headers else {}
        try:
            status, models = await self._listed(engine, given)
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError):
            return None
        return models if status == 200 else None

    async def watch(self) -> None:
        """Probes every engine until it is cancelled."""
        await asyncio.gather(*(self._watch(engine) for engine in self.engines))

    async def _watch(self, engine: Engine) -> None:
        while True:
            try:
                await self.probe(engine)
            except Exception as error:  # of one engine's probe: the others are watched all the same, and so is it
                _log.exception("the probe of engine %s failed", engine.url)
                engine.lost(f"the probe failed: {reason(error)}")
            await asyncio.sleep(self._every)

    async def probe(self, engine: Engine) -> None:
        """One probe: is it healthy, and from time to time, what does it serve."""
        try:
            async with self._http.get(f"{engine.url}/health", timeout=self._bound) as answer:
                if answer.status != 200:
                    engine.lost(f"/health answers {answer.status}")
                    return
            if not engine.up or engine._probes % _MODELS_EVERY == 0:
                await self._look(engine)
            engine._probes += 1
        except asyncio.TimeoutError as error:
            engine.silent(f"/health: {reason(error)}", self._attempts)
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            engine.lost(f"/health: {reason(error)}")
        else:
            engine.answered()

    async def _look(self, engine: Engine) -> None:
        key = self._keys[engine]
        status, models = await self._listed(engine, {"authorization": f"Bearer {key}"} if key else {})
        if status in _UNAUTHENTICATED:
            if not engine.guarded or not engine.up:
                _log.warning(
                    "engine %s: /v1/models answers %d: %s",
                    engine.url,
                    status,
                    "its api_key_file is not the right one" if key else "set api_key_file to know what it serves",
                )
            # What a client's key has shown may have changed; the next client's shows it again.
            engine.models, engine.guarded = None, True
        else:
            engine.models, engine.guarded = models, False

    async def _listed(self, engine: Engine, headers: Mapping[str, str]) -> tuple[int, frozenset[str] | None]:
        async with self._http.get(f"{engine.url}/v1/models", headers=headers, timeout=self._bound) as answer:
            if answer.status != 200:
                return answer.status, None
            try:
                listed = await answer.json(content_type=None)
                return answer.status, frozenset(str(model["id"]) for model in listed["data"])
            except (ValueError, KeyError, TypeError):
                _log.warning(
                    "engine %s: /v1/models is not what the OpenAI API says; any model is sent there", engine.url
                )
                return answer.status, None


def _key(file: Path | None) -> str:
    """The API key in a file; empty when there is no file."""
    return file.read_text(encoding="utf-8").strip() if file is not None else ""


def reason(error: BaseException) -> str:
    """An exception in a few words; some have no message of their own."""
    if isinstance(error, asyncio.TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
