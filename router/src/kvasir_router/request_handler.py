"""One request, from its arrival to the end of its answer."""

from __future__ import annotations

import json
import logging
import time
import uuid
from enum import Enum
from typing import Any, Final

import anyio
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from kvasir_router.engines import Engine
from kvasir_router.off_loop import off_loop
from kvasir_router.openai_api import (
    GENERATING,
    RequestError,
    encoded,
    error_body,
    error_response,
    parse_request,
    prefill_request,
    splittable,
)
from kvasir_router.routing_policy import Prompt, answering, choose, choose_prefill
from kvasir_router.services import Services
from kvasir_router.sse import event
from kvasir_router.upstream import AttemptError, BrokenAnswerError, UpstreamAnswer, attempt

_log = logging.getLogger("kvasir.router")

#: The engine did not take the request, so another one may.
_BUSY: Final = frozenset({429, 502, 503, 504})
#: A request may have ended the engine that took it. It gets one more engine, and not all of them.
_ACCEPTED_LIMIT: Final = 2
_PASSED_ON: Final = ("authorization", "x-api-key", "user-agent", "traceparent", "tracestate")


class Outcome(str, Enum):
    """How a request ended, as ``kvasir_router_requests_total`` counts it."""

    ANSWERED = "answered"
    REFUSED = "refused"
    FAILED = "failed"
    BROKEN = "broken"
    LATE = "late"
    LEFT = "left"


class RequestHandler:
    """Carries one request. Made for it, and used once."""

    def __init__(self, services: Services, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        self._services = services
        self._settings = services.settings
        self._metrics = services.metrics
        self._path = path
        self._scope = scope
        self._receive = receive
        self._send = send
        self._arrived = time.monotonic()
        self._begun = False
        self._streaming = False
        given = Headers(scope=scope)
        self._headers = {name: given[name] for name in _PASSED_ON if name in given}
        # The same for both halves, so that their log lines can be put together.
        self._headers["x-request-id"] = given.get("x-request-id") or uuid.uuid4().hex
        self._headers["content-type"] = "application/json"

    async def run(self) -> None:
        """Answers, whatever happens. Ends at once, at the engine too, when the client goes away."""
        outcome = Outcome.LEFT
        try:
            raw = await self._read()
            if raw is None:
                return
            async with anyio.create_task_group() as group:

                async def watch() -> None:
                    while (await self._receive())["type"] != "http.disconnect":
                        pass
                    group.cancel_scope.cancel()

                group.start_soon(watch)
                with anyio.move_on_after(self._settings.timeouts.total) as bound:
                    outcome = await self._answer(raw)
                if bound.cancelled_caught:
                    outcome = Outcome.LATE
                    limit = self._settings.timeouts.total
                    await self._fail(504, f"the request took longer than the limit of {limit:g} s", "timeout")
                group.cancel_scope.cancel()
        except RequestError as error:
            outcome = Outcome.REFUSED
            await self._fail(error.status, str(error), error.code)
        except Exception:
            # A client gets an answer in the API's form also when the router is at fault.
            outcome = Outcome.FAILED
            _log.exception("request %s failed inside the router", self._headers["x-request-id"])
            await self._fail(500, "the router failed; its log says how", "internal")
        finally:
            self._metrics.requests.labels(self._path, outcome.value).inc()

    async def _read(self) -> bytes | None:
        """The request's body; None: the client went away."""
        parts: list[bytes] = []
        size = 0
        while True:
            message: Message = await self._receive()
            if message["type"] == "http.disconnect":
                return None
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._settings.max_request_bytes:
                limit = self._settings.max_request_bytes
                raise RequestError(413, f"the request is longer than max_request_bytes, {limit}", "request_too_long")
            if not message.get("more_body"):
                return b"".join(parts)

    # ---- the request's way

    async def _answer(self, raw: bytes) -> Outcome:
        try:
            body = await off_loop(len(raw), parse_request, raw)
            engines = await self._candidates(body)
        except RequestError as error:
            await self._fail(error.status, str(error), error.code)
            return Outcome.REFUSED
        if not engines:
            await self._fail(503, self._nobody(), "no_engine", {"retry-after": "1"})
            return Outcome.FAILED
        prompt = await self._services.prompts.of(body, len(raw), self._headers, engines)
        tried: set[Engine] = set()
        if self._path in GENERATING and splittable(body):
            body, raw, chosen = await self._prefill_apart(body, raw, prompt, engines)
        else:
            chosen = None
        bound = self._settings.timeouts
        first_byte = bound.first_byte if body.get("stream") else bound.total
        accepted = 0
        troubles: list[str] = []
        for number in range(self._settings.attempts):
            engines = [engine for engine in engines if engine.up and engine not in tried]
            engine = chosen if chosen in engines else choose(answering(engines), prompt, self._settings.load_weight)
            if engine is None:
                break
            tried.add(engine)
            self._pick(engine)
            last = number + 1 == self._settings.attempts or len(engines) == 1
            with engine.serving(prompt.tokens):
                try:
                    async with attempt(
                        self._services.http, engine, self._path, raw, self._headers, bound, first_byte
                    ) as answer:
                        if answer.status in _BUSY and not last:
                            self._count(engine, "busy")
                            troubles.append(f"{answer.status}")
                            continue
                        engine.alive()
                        if answer.status == 404 and engine.models is None and not last:
                            # Nobody knows what it serves; another engine may have the model.
                            self._count(engine, "answered")
                            troubles.append("404")
                            continue
                        self._count(engine, "busy" if answer.status in _BUSY else "answered")
                        self._metrics.prompt_tokens.inc(prompt.tokens)
                        self._metrics.held_tokens.inc(prompt.tokens - prompt.lacking(engine))
                        return await self._pass_on(engine, answer)
                except AttemptError as error:
                    self._note(engine, error)
                    troubles.append(str(error))
                    accepted += error.accepted
                    if accepted >= _ACCEPTED_LIMIT:
                        break
        _log.warning("request %s failed: %s", self._headers["x-request-id"], "; ".join(troubles))
        late = any("no answer in" in trouble for trouble in troubles)
        message = f"{len(tried)} engine(s) were tried and none answered ({'; '.join(troubles) or 'none is up'})"
        await self._fail(504 if late else 502, message, "no_answer", {"retry-after": "1"})
        return Outcome.FAILED

    async def _candidates(self, body: dict[str, Any]) -> list[Engine]:
        """Engines that are up and serve the request's model; none: those that do are down for the moment."""
        named = body.get("model")
        model = named if isinstance(named, str) else None
        fleet = self._services.fleet
        await fleet.learn(self._headers)
        if not fleet.may_serve(model):
            served = ", ".join(fleet.models()) or "(none)"
            raise RequestError(404, f"the model {model!r} does not exist; there are: {served}", "model_not_found")
        return fleet.up(model)

    def _nobody(self) -> str:
        fleet = self._services.fleet
        which = "that serves this model is up" if fleet.up() else "is up"
        return f"no engine {which} (of {len(fleet.engines)}); GET /health says why"

    async def _prefill_apart(
        self, body: dict[str, Any], raw: bytes, prompt: Prompt, engines: list[Engine]
    ) -> tuple[dict[str, Any], bytes, Engine | None]:
        """Chooses who answers, and has the prompt computed for it where that pays. What it cannot do, it leaves."""
        weight = self._settings.load_weight
        decode = choose(answering(engines), prompt, weight)
        assert decode is not None
        tried: set[Engine] = set()
        self._pick(decode)
        with anyio.move_on_after(self._settings.timeouts.prefill), decode.serving(prompt.tokens):
            for _ in range(self._settings.attempts):
                rest = [engine for engine in engines if engine.up and engine not in tried]
                prefill = choose_prefill(rest, decode, prompt, self._settings.prefill_min_tokens, weight)
                if prefill is None:
                    break
                tried.add(prefill)
                self._pick(prefill)
                given, taken = _handoff(prefill, decode)
                asked = await off_loop(len(raw), encoded, prefill_request(body, given))
                returned = await self._prefill(prefill, asked, prompt)
                if returned is not None:
                    self._metrics.prefills.labels("apart").inc()
                    taken = {**returned, **taken}
                    if taken:
                        body = {**body, "kv_transfer_params": taken}
                        raw = await off_loop(len(raw), encoded, body)
                    return body, raw, decode
        if tried:
            self._metrics.prefills.labels("failed").inc()
        elif any(engine.role.value == "prefill" for engine in engines):
            self._metrics.prefills.labels("held").inc()
        return body, raw, decode

    async def _prefill(self, engine: Engine, raw: bytes, prompt: Prompt) -> dict[str, Any] | None:
        """What the engine's connector says about the prompt that it computed; None: it did not."""
        bounds = self._settings.timeouts
        try:
            with engine.serving(prompt.tokens):
                async with attempt(
                    self._services.http, engine, self._path, raw, self._headers, bounds, bounds.prefill
                ) as answer:
                    if answer.status != 200 or not answer.complete:
                        self._count(engine, "busy" if answer.status in _BUSY else "answered")
                        return None
                    self._count(engine, "answered")
                    returned = json.loads(answer.first).get("kv_transfer_params")
                    return returned if isinstance(returned, dict) else {}
        except AttemptError as error:
            self._note(engine, error)
            return None
        except (ValueError, AttributeError):
            return None

    # ---- the answer's way

    async def _pass_on(self, engine: Engine, answer: UpstreamAnswer) -> Outcome:
        self._streaming = answer.stream
        headers = {"x-request-id": self._headers["x-request-id"], **answer.headers}
        if answer.complete:
            headers["content-length"] = str(len(answer.first))
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        self._begun = True
        self._metrics.first_byte.observe(time.monotonic() - self._arrived)
        await self._send({"type": "http.response.start", "status": answer.status, "headers": encoded})
        await self._send({"type": "http.response.body", "body": answer.first, "more_body": not answer.complete})
        if answer.complete:
            return Outcome.ANSWERED
        try:
            async for piece in answer.rest():
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        except BrokenAnswerError as error:
            _log.warning("request %s at %s: %s", self._headers["x-request-id"], engine.url, error)
            await self._fail(502, str(error), "broken_answer")
            return Outcome.BROKEN
        await self._send({"type": "http.response.body", "body": b""})
        return Outcome.ANSWERED

    async def _fail(self, status: int, message: str, code: str, headers: dict[str, str] | None = None) -> None:
        """An error, as far as one can still be given."""
        if not self._begun:
            self._begun = True
            named = {"x-request-id": self._headers["x-request-id"], **(headers or {})}
            await error_response(status, message, code, named)(self._scope, self._receive, self._send)
        elif self._streaming:
            # Clients of the OpenAI API take an event with an error for the end; there is no [DONE] after it.
            told = event(error_body(message, "router_error", code))
            await self._send({"type": "http.response.body", "body": told, "more_body": False})
        # Any other body is left without its end: the server cuts the connection, which is all that is left to say.

    # ---- counting

    def _pick(self, engine: Engine) -> None:
        engine.picked = 1 + max(other.picked for other in self._services.fleet.engines)

    def _count(self, engine: Engine, outcome: str) -> None:
        self._metrics.attempts.labels(engine.url, outcome).inc()

    def _note(self, engine: Engine, error: AttemptError) -> None:
        self._count(engine, "lost" if error.accepted else "refused")
        if error.gone:
            engine.lost(str(error))


def _handoff(prefill: Engine, decode: Engine) -> tuple[dict[str, Any], dict[str, Any]]:
    """``kv_transfer_params`` of the prefill and of the answer when the two engines' nodes differ; else nothing.

    The id is for what both halves share and nobody else: the part of the prompt behind its last whole chunk. It is used
    once, and cannot be guessed.
    """
    source, target = prefill.settings.node_name, decode.settings.node_name
    if not source or not target or source == target:
        return {}, {}
    shared = {"kvasir_handoff_id": uuid.uuid4().hex}
    return {**shared, "kvasir_handoff_node": target}, shared
