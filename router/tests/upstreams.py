"""Real HTTP servers on loopback that speak the OpenAI API, and misbehave when told to: the router's engines."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from kvasir_vllm.shared.published import METRIC
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from kvasir_router.app import Router
from kvasir_router.scores import PrefixScores
from kvasir_router.settings import RouterSettings

MODEL = "tiny"


def until(condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    """Polls; fails after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain: {what}"
        time.sleep(0.005)


class Server:
    """An ASGI application on a port of its own, in a thread of its own."""

    def __init__(self, application: Any, port: int = 0, grace: int = 1) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        configuration = uvicorn.Config(application, log_level="critical", timeout_graceful_shutdown=grace)
        self._server = uvicorn.Server(configuration)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        until(lambda: self._server.started, "the server starts")

    def ask_to_stop(self) -> None:
        """What SIGTERM does."""
        self._server.should_exit = True

    def stop(self) -> None:
        """Stops and waits."""
        self.ask_to_stop()
        self._thread.join(15)
        assert not self._thread.is_alive(), "the server did not stop"
        self._socket.close()


@dataclass
class Upstream:
    """An engine's double. ``seen`` are the requests it got; the rest is how it behaves."""

    name: str
    healthy: bool = True
    late: bool = False
    api_key: str = ""
    compressed: bool = False
    status: int = 200
    pieces: int = 5
    die_after: int | None = None
    cut_event: bool = False
    hang: bool = False
    hang_after: int | None = None
    hold: threading.Event | None = None
    returns: dict[str, Any] | None = None
    tokens: list[int] = field(default_factory=list)
    models: list[str] = field(default_factory=lambda: [MODEL])
    seen: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    cancelled: int = 0
    identity: str = ""
    server: Server | None = None

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/health", self._health),
                Route("/v1/models", self._models),
                Route("/metrics", self._metrics),
                Route("/tokenize", self._tokenize, methods=["POST"]),
                Route("/v1/completions", self._complete, methods=["POST"]),
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/v1/embeddings", self._complete, methods=["POST"]),
            ]
        )

    @property
    def url(self) -> str:
        assert self.server is not None
        return self.server.url

    def start(self, port: int = 0) -> Upstream:
        self.server = Server(self.application(), port)
        return self

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()
            self.server = None

    async def _health(self, request: Request) -> Response:
        while self.late and not await request.is_disconnected():
            await asyncio.sleep(0.01)
        return Response(status_code=200 if self.healthy else 503)

    def _refusal(self, request: Request) -> Response | None:
        if self.api_key and request.headers.get("authorization") != f"Bearer {self.api_key}":
            return JSONResponse({"error": "Unauthorized"}, 401)
        return None

    async def _models(self, request: Request) -> Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        return JSONResponse({"object": "list", "data": [{"id": model} for model in self.models]})

    async def _metrics(self, _: Request) -> Response:
        registry = CollectorRegistry()
        if self.identity:
            told = Gauge(METRIC, "told", ["identity"], registry=registry)
            told.labels(self.identity).set(1)
        return Response(generate_latest(registry))

    async def _tokenize(self, request: Request) -> Response:
        self.seen.append(await request.json())
        return JSONResponse({"tokens": self.tokens, "count": len(self.tokens)})

    async def _complete(self, request: Request) -> Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        body = await request.json()
        self.seen.append(body)
        self.headers.append(dict(request.headers))
        end = time.monotonic() + 30
        while self.hang and time.monotonic() < end:
            if await request.is_disconnected():
                self.cancelled += 1
                break
            await asyncio.sleep(0.01)
        if self.hold is not None:
            while not self.hold.is_set():
                await asyncio.sleep(0.005)
        if self.compressed:
            return Response(gzip.compress(b'{"choices": []}'), headers={"content-encoding": "gzip"})
        if self.status != 200:
            return JSONResponse({"error": {"message": f"{self.name} says no"}}, self.status)
        if body.get("stream"):
            return StreamingResponse(self._stream(), media_type="text/event-stream")
        if self.die_after is not None:
            return StreamingResponse(self._half(), media_type="application/json")
        answer: dict[str, Any] = {"model": body.get("model"), "choices": [{"text": self.name}]}
        if self.returns is not None:
            answer["kv_transfer_params"] = self.returns
        return JSONResponse(answer)

    async def _half(self) -> AsyncIterator[bytes]:
        yield b'{"choices": [{"te'
        raise RuntimeError("the engine dies")

    async def _stream(self) -> AsyncIterator[bytes]:
        try:
            for number in range(self.pieces):
                if number == self.die_after:
                    if self.cut_event:
                        yield b'data: {"half": "of an ev'
                        await asyncio.sleep(0.02)
                    raise RuntimeError("the engine dies")
                if number == self.hang_after:
                    await asyncio.sleep(60)
                yield f"data: {json.dumps({'engine': self.name, 'piece': number})}\n\n".encode()
                await asyncio.sleep(0)
            yield b"data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


@dataclass
class Front:
    """A running router."""

    router: Router
    server: Server

    @property
    def url(self) -> str:
        return self.server.url

    def metric(self, name: str, **labels: str) -> float:
        return self.router.metrics.registry.get_sample_value(name, labels) or 0.0


@contextlib.contextmanager
def front(settings: dict[str, Any], scores: PrefixScores | None = None, wait_up: bool = True) -> Iterator[Front]:
    """A router with these settings, once every engine that can be up is."""
    router = Router(RouterSettings.model_validate({"probe_every": 0.05, **settings}), scores)
    running = Front(router, Server(router.application()))
    try:
        if wait_up:
            until(lambda: all(engine.up for engine in router.fleet.engines), "every engine is up")
        yield running
    finally:
        running.server.stop()
