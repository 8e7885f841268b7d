"""What the router knows of its engines, and what it does when it does not: API keys, engines that are down."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from test_front import ask
from upstreams import MODEL, Front, Upstream, front, until

from kvasir_router.engines import Engine
from kvasir_router.settings import RouterSettings

Start = Callable[..., Upstream]
KEY = {"authorization": "Bearer sk-1"}


def asked(router: Front, model: str, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.post(f"{router.url}/v1/completions", json={"model": model, "prompt": "x"}, headers=headers)


def of(*engines: Upstream, **more: Any) -> dict[str, Any]:
    return {"engines": [{"url": engine.url} for engine in engines], **more}


def test_engines_with_an_api_key_are_known_by_the_clients_key(engine: Start) -> None:
    one, two = engine("one", models=["a"], api_key="sk-1"), engine("two", models=["b"], api_key="sk-1")
    with front(of(one, two)) as router:
        answers = [asked(router, model, KEY) for model in "abab"]
        assert [answer.json()["choices"][0]["text"] for answer in answers] == ["one", "two", "one", "two"]
        assert asked(router, "c", KEY).status_code == 404
        listed = httpx.get(f"{router.url}/v1/models", headers=KEY).json()
        assert [model["id"] for model in listed["data"]] == ["a", "b"]
        assert httpx.get(f"{router.url}/v1/models").status_code == 401


def test_a_request_without_the_key_gets_the_engines_own_refusal(engine: Start) -> None:
    with front(of(engine("one", models=["a"], api_key="sk-1"))) as router:
        assert asked(router, "a").status_code == 401
        assert asked(router, "a", {"authorization": "Bearer wrong"}).status_code == 401


def test_a_key_of_the_routers_own_is_for_its_questions_and_no_client(engine: Start, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-1\n")
    one, two = engine("one", models=["a"], api_key="sk-1"), engine("two", models=["b"], api_key="sk-1")
    with front(of(one, two, api_key_file=str(file))) as router:
        assert [model["id"] for model in httpx.get(f"{router.url}/v1/models").json()["data"]] == ["a", "b"]
        assert asked(router, "c").status_code == 404
        assert asked(router, "b").status_code == 401
        assert asked(router, "b", KEY).json()["choices"] == [{"text": "two"}]


def test_an_engine_that_does_not_know_the_model_is_passed_over_while_nobody_knows_what_it_serves(engine: Start) -> None:
    one, two = engine("one", status=404), engine("two")
    with front(of(one, two)) as router:
        for known in router.router.fleet.engines:
            known.models = None
        router.router.fleet._every = 3600
        assert [ask(router.url).json()["choices"][0]["text"] for _ in range(2)] == ["two", "two"]


def test_a_model_whose_only_engine_is_down_is_there_again_soon(engine: Start) -> None:
    one, two = engine("one", models=["a"]), engine("two", models=["b"])
    with front(of(one, two)) as router:
        one.stop()
        until(lambda: not router.router.fleet.engines[0].up, "it is seen to be gone")
        answer = asked(router, "a")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["error"]["code"] == "no_engine"
        assert asked(router, "c").status_code == 404
        listed = httpx.get(f"{router.url}/v1/models").json()
        assert [model["id"] for model in listed["data"]] == ["a", "b"]


def test_a_late_probe_ends_nothing_and_several_do(engine: Start) -> None:
    one = engine("one")
    with front(of(one, timeouts={"probe": 0.2}, probe_attempts=4)) as router:
        watched = router.router.fleet.engines[0]
        one.late = True
        until(lambda: watched._unanswered == 1, "a probe is late")
        assert watched.up
        one.late = False
        until(lambda: watched._unanswered == 0, "a probe is answered")
        one.late = True
        until(lambda: not watched.up, "several were late")
        assert watched._unanswered == 4


def test_an_engine_that_answers_requests_is_up_however_late_its_probes() -> None:
    watched = Engine(RouterSettings.model_validate({"engines": [{"url": "http://a"}]}).engines[0])
    watched.answered()
    for _ in range(5):
        watched.silent("late", 2)
        watched.alive()
    assert watched.up
    watched.silent("late", 2)
    watched.silent("late", 2)
    assert not watched.up


def test_a_probe_that_fails_inside_the_router_is_not_the_last_one(
    engine: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    with front(of(engine("one"))) as router:
        fleet = router.router.fleet
        probe, failures = fleet.probe, iter([RuntimeError("once")])

        async def failing(one: Engine) -> None:
            for failure in failures:
                raise failure
            await probe(one)

        fleet.engines[0].trouble = "none"
        monkeypatch.setattr(fleet, "probe", failing)
        until(lambda: fleet.engines[0].trouble == "" and next(failures, None) is None, "it is probed again")
        assert ask(router.url).status_code == 200


def test_an_engine_that_was_never_up_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.WARNING, "kvasir.router"),
        front({"engines": [{"url": "http://127.0.0.1:1"}]}, wait_up=False),
    ):
        until(lambda: "engine http://127.0.0.1:1 is down" in caplog.text, "the log says so")


def test_a_compressed_answer_is_passed_on_with_its_encoding(engine: Start) -> None:
    with front(of(engine("one", compressed=True))) as router:
        assert asked(router, MODEL).json() == {"choices": []}


@pytest.mark.parametrize(
    "url",
    [
        "http://host:port",
        "http://10.0.0.1:99999",
        "http://10.0.0.1:0",
        "http://[fd00::1:8000",
        "http://[fd00::zz]:8000",
        "http://host/v1",
        "http://vllm..svc:8000",
        "http://",
        "http://:80",
        "http://user@host",
        "http://a b",
        "http://" + "a" * 64,
        "ftp://host",
    ],
)
def test_an_address_that_cannot_be_one_is_refused_at_start(url: str) -> None:
    with pytest.raises(ValidationError):
        RouterSettings.model_validate({"engines": [{"url": url}]})


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1]:8000",
        "http://10.0.0.1",
        "https://vllm-0.vllm.svc:8000/",
        "http://my_engine.local.",
        "http://bücher",
    ],
)
def test_an_address_that_can_be_one_is_taken(url: str) -> None:
    assert RouterSettings.model_validate({"engines": [{"url": url}]}).engines[0].url == url.rstrip("/")


@pytest.mark.parametrize("listen", ["::1:8000", "[::1]", "host:99999"])
def test_a_place_to_listen_that_cannot_be_one_is_refused(listen: str) -> None:
    with pytest.raises(ValidationError):
        RouterSettings.model_validate({"engines": [{"url": "http://a"}], "listen": listen})


def test_a_key_file_that_cannot_be_read_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="can be read"):
        RouterSettings.model_validate({"engines": [{"url": "http://a"}], "api_key_file": str(tmp_path / "none")})
