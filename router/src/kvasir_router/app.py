"""The front itself: an ASGI application over a fleet of engines."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import aiohttp
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from kvasir_router.engines import Fleet
from kvasir_router.metrics import Metrics
from kvasir_router.openai_api import BALANCED, GENERATING, error_response
from kvasir_router.prompts import Prompts
from kvasir_router.request_handler import RequestHandler
from kvasir_router.scores import NodeScores, PrefixScores
from kvasir_router.services import Services
from kvasir_router.settings import RouterSettings


class Router:
    """Owns the connections to engines, the probes, and what is counted. One for each process."""

    def __init__(self, settings: RouterSettings, scores: PrefixScores | None = None) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.scores = scores
        if scores is None and any(engine.node is not None for engine in settings.engines):
            self.scores = NodeScores(lambda: self.http, self.metrics, settings.timeouts.scores, settings.token.encode())
        self._started = int(time.time())

    def application(self) -> Starlette:
        """The ASGI application."""
        posts = [
            Route(path, _Posted(lambda: self._services, path), methods=["POST"]) for path in (*GENERATING, *BALANCED)
        ]
        return Starlette(
            routes=[
                *posts,
                Route("/v1/models", self._models),
                Route("/health", self._health),
                Route("/metrics", self._metrics),
            ],
            lifespan=self._lifespan,
            exception_handlers={HTTPException: _http_error},
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        # A connection for each request: engines close idle ones when they like, and a request that meets that moment
        # cannot be told from one that was accepted. Beside generation the handshake costs nothing.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        headers = {"accept-encoding": "identity"}
        async with aiohttp.ClientSession(connector=connector, headers=headers, auto_decompress=False) as http:
            self.http = http
            self.fleet = Fleet(self.settings, http)
            prompts = Prompts(http, self.scores, self.settings.timeouts.scores)
            self._services = Services(self.settings, self.metrics, http, self.fleet, prompts)
            watching = asyncio.create_task(self.fleet.watch())
            try:
                yield
            finally:
                watching.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watching
                if self.scores is not None:
                    await self.scores.close()

    async def _models(self, request: Request) -> Response:
        models = await self.fleet.models_for(request.headers)
        if not models and any(engine.up and engine.guarded for engine in self.fleet.engines):
            return error_response(401, "the engines want an API key (Authorization: Bearer ...)", "unauthenticated")
        listed = [{"id": model, "object": "model", "created": self._started, "owned_by": "vllm"} for model in models]
        return JSONResponse({"object": "list", "data": listed})

    async def _health(self, _: Request) -> Response:
        engines = [
            {
                "url": engine.url,
                "role": engine.role.value,
                "up": engine.up,
                "requests": engine.requests,
                "prompt_tokens": engine.tokens,
                **({"trouble": engine.trouble} if engine.trouble else {}),
            }
            for engine in self.fleet.engines
        ]
        up = sum(engine.up for engine in self.fleet.engines)
        body = {"status": "ok" if up == len(engines) else "degraded" if up else "down", "engines": engines}
        return JSONResponse(body, 200 if up else 503)

    async def _metrics(self, _: Request) -> Response:
        for engine in self.fleet.engines:
            self.metrics.up.labels(engine.url).set(engine.up)
            self.metrics.in_flight.labels(engine.url).set(engine.requests)
        return Response(generate_latest(self.metrics.registry), headers={"content-type": CONTENT_TYPE_LATEST})


class _Posted:
    """A path whose requests go to engines. An instance, since Starlette would take a function for a plain handler."""

    def __init__(self, services: Callable[[], Services], path: str) -> None:
        self._services = services
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await RequestHandler(self._services(), self._path, scope, receive, send).run()


def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    message = f"{error.detail}. The router serves POST {', '.join((*GENERATING, *BALANCED))} and GET /v1/models."
    return error_response(error.status_code, message, code, error.headers)
