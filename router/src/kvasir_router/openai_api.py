"""The parts of the OpenAI API that the router has to understand: errors, prompts, and the prefill half of a request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

#: Paths of requests that compute a prompt and then generate: they can be split between a prefill and a decode engine.
GENERATING = ("/v1/completions", "/v1/chat/completions")
#: Paths that are balanced and passed on as they are.
BALANCED = (
    "/v1/embeddings",
    "/v1/messages",
    "/v1/rerank",
    "/v1/score",
    "/detokenize",
    "/tokenize",
)
#: How many bytes of a request stand for one token, where nobody has counted.
BYTES_PER_TOKEN = 4

#: Of no use to a prefill: they belong to the answer, or contradict max_tokens 1.
_ANSWER_ONLY = (
    "stream_options", "min_tokens", "logprobs", "top_logprobs", "prompt_logprobs", "echo", "best_of", "n",
    "max_completion_tokens",
)  # fmt: skip


class RequestError(Exception):
    """A request that is refused; ``status`` is the HTTP status."""

    def __init__(self, status: int, message: str, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def error_body(message: str, kind: str, code: str) -> dict[str, Any]:
    """An error as the OpenAI API spells it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def error_response(status: int, message: str, code: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An answer that is an error of the router's own; ``code`` is for programs."""
    kind = "invalid_request_error" if status < 500 else "router_error"
    return JSONResponse(error_body(message, kind, code), status, dict(headers or {}))


def parse_request(raw: bytes) -> dict[str, Any]:
    """The request's JSON object.

    Raises:
        RequestError: it is none, or asks for what only the router sets.
    """
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the request is no JSON: {error}", "invalid_json") from error
    if not isinstance(body, dict):
        raise RequestError(400, f"the request must be a JSON object; seen: {type(body).__name__}", "invalid_request")
    if body.get("kv_transfer_params"):
        # They name places in the cluster and single-use keys; a client's could name another client's.
        raise RequestError(400, "kv_transfer_params are set by the router; leave them out", "kv_transfer_params")
    return body


def encoded(body: Mapping[str, Any]) -> bytes:
    """The body of a request to an engine."""
    return json.dumps(body).encode()


def prompt_tokens(body: Mapping[str, Any]) -> list[int] | None:
    """The prompt's token ids, when the request has them itself (one prompt of ids)."""
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], list):
        prompt = prompt[0]
    if isinstance(prompt, list) and prompt and all(type(token) is int and token >= 0 for token in prompt):
        return prompt
    return None


def tokenize_request(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """What to ask an engine's ``/tokenize`` for this request; None: its prompt is no single text."""
    taken: tuple[str, ...]
    if isinstance(body.get("messages"), list):
        taken = ("model", "messages", "tools", "chat_template", "chat_template_kwargs", "add_generation_prompt",
                 "continue_final_message", "add_special_tokens")  # fmt: skip
    elif isinstance(body.get("prompt"), str):
        taken = ("model", "prompt", "add_special_tokens")
    else:
        return None
    return {name: body[name] for name in taken if name in body}


def splittable(body: Mapping[str, Any]) -> bool:
    """Whether another engine can do the prefill: one prompt, and an answer that is sampled token by token."""
    prompt = body.get("prompt")
    several = isinstance(prompt, list) and len(prompt) > 1 and not all(type(token) is int for token in prompt)
    # Engines compute prompts anew for their log probabilities, whatever is cached.
    return not several and not body.get("use_beam_search") and body.get("prompt_logprobs") is None


def prefill_request(body: Mapping[str, Any], kv_transfer_params: Mapping[str, Any]) -> dict[str, Any]:
    """The same prompt with an answer of one token that nobody reads."""
    request = {name: value for name, value in body.items() if name not in _ANSWER_ONLY}
    request["stream"] = False
    request["max_tokens"] = 1
    if "max_completion_tokens" in body:
        request["max_completion_tokens"] = 1
    if kv_transfer_params:
        request["kv_transfer_params"] = dict(kv_transfer_params)
    return request
