"""Engines that are gone, busy, silent, or die: what a client of the router sees of it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from test_front import ASK, ask, events
from upstreams import Front, Upstream, front, until

Start = Callable[..., Upstream]
SHORT = {"connect": 0.5, "first_byte": 0.5, "idle": 0.5, "prefill": 0.5, "total": 5, "probe": 0.5}


def two_engines(first: Upstream, second: Upstream, **more: Any) -> dict[str, Any]:
    return {"engines": [{"url": first.url}, {"url": second.url}], "timeouts": SHORT, **more}


def frozen(router: Front) -> None:
    """No probe from now on: what a request finds was not known before, and stays known."""
    engines = router.router.fleet.engines
    router.router.fleet._every = 3600
    # A probe that is under way, or that was due after the shorter time, is the last one.
    before = [engine._probes for engine in engines]
    until(lambda: all(engine._probes > seen for engine, seen in zip(engines, before, strict=True)), "the last probes")


def test_an_engine_that_is_gone_costs_nothing_but_time(engine: Start) -> None:
    one, two = engine("one"), engine("two")
    with front(two_engines(one, two)) as router:
        frozen(router)
        one.stop()
        answers = [ask(router.url) for _ in range(4)]
        assert [answer.json()["choices"][0]["text"] for answer in answers] == ["two"] * 4
        assert (
            router.metric("kvasir_router_attempts_total", engine=router.router.fleet.engines[0].url, outcome="refused")
            == 1
        )


def test_an_engine_that_comes_back_gets_requests_again(engine: Start) -> None:
    one, two = engine("one"), engine("two")
    port = one.server.port if one.server else 0
    with front(two_engines(one, two)) as router:
        one.stop()
        until(lambda: not router.router.fleet.engines[0].up, "it is seen to be gone")
        assert ask(router.url).status_code == 200
        one.start(port)
        until(lambda: router.router.fleet.engines[0].up, "it is seen to be back")
        assert {ask(router.url).json()["choices"][0]["text"] for _ in range(2)} == {"one", "two"}


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_engine_is_passed_over(engine: Start, status: int) -> None:
    one, two = engine("one", status=status), engine("two")
    with front(two_engines(one, two)) as router:
        assert [ask(router.url).json()["choices"][0]["text"] for _ in range(2)] == ["two", "two"]
    assert len(one.seen) >= 1


def test_when_all_are_busy_the_last_answer_is_passed_on(engine: Start) -> None:
    one, two = engine("one", status=503), engine("two", status=503)
    with front(two_engines(one, two)) as router:
        response = ask(router.url)
    assert response.status_code == 503
    assert "says no" in response.json()["error"]["message"]
    assert (len(one.seen), len(two.seen)) == (1, 1)


def test_an_error_of_the_engine_is_not_tried_elsewhere(engine: Start) -> None:
    one, two = engine("one", status=500), engine("two", status=500)
    with front(two_engines(one, two)) as router:
        assert ask(router.url).status_code == 500
    assert len(one.seen) + len(two.seen) == 1


def test_a_silent_engine_costs_the_first_byte_limit_and_then_another_answers(engine: Start) -> None:
    one, two = engine("one", hang=True), engine("two")
    with front(two_engines(one, two)) as router:
        answers = [ask(router.url, {**ASK, "stream": True}) for _ in range(2)]
    assert all(json.loads(events(answer)[0])["engine"] == "two" for answer in answers)
    assert one.cancelled >= 1


def test_a_request_that_engines_are_silent_about_meets_two_of_them_and_no_more(engine: Start) -> None:
    silent = [engine(name, hang=True) for name in ("one", "two", "three")]
    with front({"engines": [{"url": upstream.url} for upstream in silent], "timeouts": SHORT}) as router:
        response = ask(router.url, {**ASK, "stream": True})
    assert response.status_code == 504
    assert "2 engine(s) were tried" in response.json()["error"]["message"]
    assert sum(len(upstream.seen) for upstream in silent) == 2


def test_a_stream_that_dies_before_its_first_event_comes_from_another_engine(engine: Start) -> None:
    one, two = engine("one", die_after=0, cut_event=True), engine("two")
    with front(two_engines(one, two)) as router:
        frozen(router)
        answers = [ask(router.url, {**ASK, "stream": True}) for _ in range(2)]
    for answer in answers:
        assert {json.loads(event)["engine"] for event in events(answer)[:-1]} == {"two"}
    assert len(one.seen) == 1


@pytest.mark.parametrize("cut_event", [False, True])
def test_a_stream_that_dies_in_its_middle_ends_with_an_error_event(engine: Start, cut_event: bool) -> None:
    one = engine("one", die_after=2, cut_event=cut_event)
    with front({"engines": [{"url": one.url}]}) as router:
        response = ask(router.url, {**ASK, "stream": True})
        until(
            lambda: router.metric("kvasir_router_requests_total", path="/v1/completions", outcome="broken") == 1,
            "broken",
        )
    told = [json.loads(event) for event in events(response)]
    assert [event.get("piece") for event in told] == [0, 1, None]
    assert told[-1]["error"]["code"] == "broken_answer"
    assert len(one.seen) == 1


def test_a_stream_that_falls_silent_ends_with_an_error_event(engine: Start) -> None:
    one = engine("one", hang_after=2)
    with front({"engines": [{"url": one.url}], "timeouts": SHORT}) as router:
        response = ask(router.url, {**ASK, "stream": True})
    assert "was silent for 0.5 s" in json.loads(events(response)[-1])["error"]["message"]
    until(lambda: one.cancelled == 1, "the engine's answer is cancelled")


def test_an_answer_that_dies_in_its_middle_comes_from_another_engine(engine: Start) -> None:
    one, two = engine("one", die_after=0), engine("two")
    with front(two_engines(one, two)) as router:
        assert [ask(router.url).json()["choices"][0]["text"] for _ in range(2)] == ["two", "two"]


def test_no_request_outlives_the_total_limit(engine: Start) -> None:
    one = engine("one", hang=True)
    with front({"engines": [{"url": one.url}], "timeouts": {**SHORT, "total": 0.5}}) as router:
        begun = time.monotonic()
        response = ask(router.url)
    assert (response.status_code, response.json()["error"]["code"]) in {(504, "timeout"), (504, "no_answer")}
    assert time.monotonic() - begun < 10
    until(lambda: one.cancelled == 1, "the engine's work is cancelled")


def test_a_server_that_accepts_and_never_speaks_is_found_down(engine: Start) -> None:
    one = engine("one")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        settings = {"engines": [{"url": f"http://127.0.0.1:{mute.getsockname()[1]}"}, {"url": one.url}]}
        with front({**settings, "timeouts": SHORT}, wait_up=False) as router:
            until(lambda: len(router.router.fleet.up()) == 1, "the other is up")
            until(lambda: "no answer in time" in router.router.fleet.engines[0].trouble, "the mute one is down")
            assert ask(router.url).json()["choices"][0]["text"] == "one"
