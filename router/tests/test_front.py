"""A request goes through the router to a real server and back."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from upstreams import MODEL, Upstream, front, until

Start = Callable[..., Upstream]
ASK = {"model": MODEL, "prompt": "hello"}


def ask(url: str, body: dict[str, Any] | None = None, **given: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/completions", json=body or ASK, timeout=20, **given)


def events(response: httpx.Response) -> list[str]:
    assert response.text.endswith("\n\n")
    return [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]


def test_an_answer_comes_back_as_the_engine_gave_it(engine: Start) -> None:
    one = engine("one")
    with front({"engines": [{"url": one.url}]}) as router:
        response = ask(router.url, headers={"authorization": "Bearer secret", "x-request-id": "r1"})
    assert response.status_code == 200
    assert response.json()["choices"] == [{"text": "one"}]
    assert response.headers["x-request-id"] == "r1"
    assert one.seen == [ASK]
    assert (one.headers[0]["authorization"], one.headers[0]["x-request-id"]) == ("Bearer secret", "r1")


def test_a_stream_comes_back_event_by_event(engine: Start) -> None:
    one = engine("one", pieces=3)
    with front({"engines": [{"url": one.url}]}) as router:
        response = ask(router.url, {**ASK, "stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert [json.loads(event)["piece"] for event in events(response)[:-1]] == [0, 1, 2]
    assert events(response)[-1] == "[DONE]"


def test_the_first_event_arrives_before_the_last_is_made(engine: Start) -> None:
    one = engine("one", pieces=2, hang_after=1)
    with (
        front({"engines": [{"url": one.url}]}) as router,
        httpx.stream("POST", f"{router.url}/v1/completions", json={**ASK, "stream": True}, timeout=20) as response,
    ):
        assert b'"piece": 0' in next(response.iter_bytes())


def test_a_client_that_leaves_ends_its_request_at_the_engine(engine: Start) -> None:
    one = engine("one", pieces=2, hang_after=1)
    with front({"engines": [{"url": one.url}]}) as router:
        with httpx.stream("POST", f"{router.url}/v1/completions", json={**ASK, "stream": True}) as response:
            next(response.iter_bytes())
        until(lambda: one.cancelled == 1, "the engine's answer is cancelled")
        until(
            lambda: router.metric("kvasir_router_requests_total", path="/v1/completions", outcome="left") == 1, "left"
        )
        assert router.router.fleet.engines[0].requests == 0


def test_a_client_that_leaves_before_the_answer_ends_its_request_too(engine: Start) -> None:
    one = engine("one", hang=True)
    with front({"engines": [{"url": one.url}]}) as router:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{router.url}/v1/completions", json=ASK, timeout=0.5)
        until(lambda: one.cancelled == 1, "the engine's work is cancelled")


def test_requests_spread_over_plain_engines(engine: Start) -> None:
    hold = threading.Event()
    engines = [engine(name, hold=hold) for name in ("one", "two", "three")]
    with front({"engines": [{"url": upstream.url} for upstream in engines]}) as router:
        threads = [threading.Thread(target=ask, args=(router.url,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        until(lambda: sum(len(upstream.seen) for upstream in engines) == 6, "all requests are under way")
        hold.set()
        for thread in threads:
            thread.join(10)
    assert [len(upstream.seen) for upstream in engines] == [2, 2, 2]


def test_a_model_goes_to_an_engine_that_serves_it(engine: Start) -> None:
    one, two = engine("one", models=["a"]), engine("two", models=["b", "c"])
    with front({"engines": [{"url": one.url}, {"url": two.url}]}) as router:
        assert ask(router.url, {"model": "c", "prompt": "x"}).json()["choices"] == [{"text": "two"}]
        refused = ask(router.url, {"model": "d", "prompt": "x"})
        listed = httpx.get(f"{router.url}/v1/models").json()
    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "model_not_found"
    assert "a, b, c" in refused.json()["error"]["message"]
    assert [model["id"] for model in listed["data"]] == ["a", "b", "c"]


def test_an_engines_refusal_is_passed_on(engine: Start) -> None:
    one, two = engine("one", status=400), engine("two", status=400)
    with front({"engines": [{"url": one.url}, {"url": two.url}]}) as router:
        response = ask(router.url)
    assert response.status_code == 400
    assert "says no" in response.json()["error"]["message"]
    assert len(one.seen) + len(two.seen) == 1


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"[1]", 400, "invalid_request"),
        (b"[" * 100_000, 400, "invalid_json"),
        (
            json.dumps({**ASK, "kv_transfer_params": {"kvasir_handoff_id": "theirs"}}).encode(),
            400,
            "kv_transfer_params",
        ),
        (b" " * 5000, 413, "request_too_long"),
    ],
)
def test_bad_requests_are_refused_with_a_reason(engine: Start, content: bytes, status: int, code: str) -> None:
    one = engine("one")
    limit = 4096 if status == 413 else 1 << 20
    with front({"engines": [{"url": one.url}], "max_request_bytes": limit}) as router:
        response = httpx.post(f"{router.url}/v1/completions", content=content)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert one.seen == []


def test_other_paths_are_answered_as_errors_of_the_api(engine: Start) -> None:
    with front({"engines": [{"url": engine("one").url}]}) as router:
        assert httpx.post(f"{router.url}/v1/nothing", json={}).json()["error"]["code"] == "not_found"
        assert httpx.get(f"{router.url}/v1/completions").json()["error"]["code"] == "method_not_allowed"
        assert ask(router.url).status_code == 200


def test_health_says_which_engine_is_down_and_why(engine: Start) -> None:
    one, two = engine("one"), engine("two")
    with front({"engines": [{"url": one.url}, {"url": two.url}]}) as router:
        assert httpx.get(f"{router.url}/health").json()["status"] == "ok"
        two.healthy = False
        until(lambda: not router.router.fleet.engines[1].up, "the probe sees it")
        degraded = httpx.get(f"{router.url}/health")
        one.healthy = False
        until(lambda: not router.router.fleet.up(), "the probe sees it")
        down = httpx.get(f"{router.url}/health")
        refused = ask(router.url)
    assert (degraded.status_code, degraded.json()["status"]) == (200, "degraded")
    assert degraded.json()["engines"][1]["trouble"] == "/health answers 503"
    assert down.status_code == 503
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_engine")
    assert refused.headers["retry-after"] == "1"


def test_metrics_count_what_happened(engine: Start) -> None:
    one = engine("one")
    with front({"engines": [{"url": one.url}]}) as router:
        ask(router.url, {"model": MODEL, "prompt": [1, 2, 3]})
        text = httpx.get(f"{router.url}/metrics").text
    assert 'kvasir_router_requests_total{outcome="answered",path="/v1/completions"} 1.0' in text
    assert f'kvasir_router_engine_up{{engine="{one.url}"}} 1.0' in text
    assert "kvasir_router_prompt_tokens_total 3.0" in text
    assert "kvasir_router_first_byte_seconds_count 1.0" in text


def test_an_answer_under_way_is_finished_at_shutdown(engine: Start) -> None:
    hold = threading.Event()
    one = engine("one", hold=hold)
    got: list[httpx.Response] = []
    with front({"engines": [{"url": one.url}]}) as router:
        asking = threading.Thread(target=lambda: got.append(ask(router.url)))
        asking.start()
        until(lambda: len(one.seen) == 1, "the request is under way")
        router.server.ask_to_stop()
        hold.set()
        asking.join(10)
    assert got[0].status_code == 200
