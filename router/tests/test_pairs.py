"""Prefill and decode engines: who is paired with whom, and what the two halves of a request say."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
from test_front import ask
from upstreams import MODEL, Front, Upstream, front, until

from kvasir_router.engines import Engine

Start = Callable[..., Upstream]
LONG = {"model": MODEL, "prompt": list(range(1000)), "max_tokens": 50}


class Held:
    """Scores as a test sets them."""

    def __init__(self, **tokens: int) -> None:
        self.tokens = tokens
        self.asked: list[Sequence[int]] = []
        self.names: dict[str, str] = {}

    async def held_tokens(
        self,
        tokens: Sequence[int],
        body: Mapping[str, Any],  # noqa: ARG002
        engines: Sequence[Engine],
    ) -> dict[Engine, int]:
        self.asked.append(tokens)
        return {engine: self.tokens.get(self.names.get(engine.url, ""), 0) for engine in engines}

    async def close(self) -> None:
        pass


def pair(prefill: Sequence[Upstream], decode: Sequence[Upstream], nodes: bool = False, **more: Any) -> dict[str, Any]:
    engines = [
        {"url": upstream.url, "role": role, **({"node_name": f"node-{upstream.name}"} if nodes else {})}
        for role, upstreams in (("prefill", prefill), ("decode", decode))
        for upstream in upstreams
    ]
    return {"engines": engines, **more}


def prefills(router: Front, outcome: str) -> float:
    return router.metric("kvasir_router_prefills_total", outcome=outcome)


def test_a_prompt_is_computed_by_one_engine_and_answered_by_the_other(engine: Start) -> None:
    p, d = engine("p"), engine("d")
    with front(pair([p], [d])) as router:
        response = ask(router.url, {**LONG, "stream": True, "stream_options": {"include_usage": True}, "min_tokens": 5})
        assert prefills(router, "apart") == 1
    assert '"engine": "d"' in response.text
    assert p.seen == [{"model": MODEL, "prompt": LONG["prompt"], "max_tokens": 1, "stream": False}]
    assert d.seen == [{**LONG, "stream": True, "stream_options": {"include_usage": True}, "min_tokens": 5}]
    assert p.headers[0]["x-request-id"] == d.headers[0]["x-request-id"]


def test_a_chats_prefill_asks_for_one_token_in_both_spellings(engine: Start) -> None:
    p, d = engine("p"), engine("d")
    chat = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "word " * 1000}],
        "max_completion_tokens": 9,
        "n": 2,
    }
    with front(pair([p], [d])) as router:
        httpx.post(f"{router.url}/v1/chat/completions", json=chat)
    assert p.seen == [
        {"model": MODEL, "messages": chat["messages"], "stream": False, "max_tokens": 1, "max_completion_tokens": 1}
    ]
    assert d.seen == [chat]


def test_a_handed_off_prefill_names_the_decode_engines_node(engine: Start) -> None:
    p, d = engine("p", returns={"kvasir_tail_tokens": 17}), engine("d")
    with front(pair([p], [d], nodes=True)) as router:
        ask(router.url, LONG)
        ask(router.url, LONG)
    ids = []
    for first, second in zip(p.seen, d.seen, strict=True):
        given, taken = first["kv_transfer_params"], second["kv_transfer_params"]
        assert given == {"kvasir_handoff_id": given["kvasir_handoff_id"], "kvasir_handoff_node": "node-d"}
        assert taken == {"kvasir_handoff_id": given["kvasir_handoff_id"], "kvasir_tail_tokens": 17}
        ids.append(given["kvasir_handoff_id"])
    assert len(set(ids)) == 2
    assert all(len(one) == 32 for one in ids)


def test_engines_of_one_node_share_it_and_hand_nothing_off(engine: Start) -> None:
    p, d = engine("p"), engine("d")
    settings = pair([p], [d], nodes=True)
    settings["engines"][1]["node_name"] = settings["engines"][0]["node_name"]
    with front(settings) as router:
        ask(router.url, LONG)
    assert "kv_transfer_params" not in p.seen[0]
    assert "kv_transfer_params" not in d.seen[0]


def test_a_short_prompt_is_computed_where_it_is_answered(engine: Start) -> None:
    p, d = engine("p"), engine("d")
    with front(pair([p], [d])) as router:
        ask(router.url, {**LONG, "prompt": list(range(200))})
    assert (len(p.seen), len(d.seen)) == (0, 1)


def test_a_prompt_that_the_decode_engines_node_holds_is_not_computed_again(engine: Start) -> None:
    p, d = engine("p"), engine("d")
    scores = Held(d=900)
    scores.names = {d.url: "d"}
    with front(pair([p], [d]), scores) as router:
        ask(router.url, LONG)
        assert prefills(router, "held") == 1
        assert router.metric("kvasir_router_held_tokens_total") == 900
        scores.tokens["d"] = 500
        ask(router.url, LONG)
    assert (len(p.seen), len(d.seen)) == (1, 2)


def test_the_engine_whose_node_holds_most_of_the_prompt_is_preferred(engine: Start) -> None:
    one, two = engine("one"), engine("two")
    scores = Held(two=512)
    scores.names = {one.url: "one", two.url: "two"}
    with front({"engines": [{"url": one.url}, {"url": two.url}]}, scores) as router:
        for _ in range(3):
            ask(router.url, LONG)
    assert (len(one.seen), len(two.seen)) == (0, 3)


def test_text_is_tokenized_by_an_engine_before_scores_are_asked_for(engine: Start) -> None:
    one = engine("one", tokens=[5, 6, 7])
    scores = Held()
    with front({"engines": [{"url": one.url}], "timeouts": {"scores": 5}}, scores) as router:
        httpx.post(f"{router.url}/v1/completions", json={"model": MODEL, "prompt": "a b c", "max_tokens": 3})
    assert scores.asked == [[5, 6, 7]]
    assert one.seen[0] == {"model": MODEL, "prompt": "a b c"}


def test_another_prefill_engine_takes_over_from_one_that_is_busy(engine: Start) -> None:
    busy, p, d = engine("busy", status=503), engine("p"), engine("d")
    with front(pair([busy, p], [d])) as router:
        for _ in range(2):
            assert ask(router.url, LONG).json()["choices"] == [{"text": "d"}]
        assert prefills(router, "apart") == 2
    assert len(p.seen) == 2


def test_without_a_prefill_engine_the_decode_engine_computes(engine: Start) -> None:
    p, d = engine("p"), engine("d")
    with front(pair([p], [d])) as router:
        p.stop()
        assert ask(router.url, LONG).json()["choices"] == [{"text": "d"}]
        until(lambda: not router.router.fleet.engines[0].up, "it is seen to be gone")
        assert ask(router.url, LONG).json()["choices"] == [{"text": "d"}]


def test_without_a_decode_engine_the_prefill_engine_answers(engine: Start) -> None:
    p, d = engine("p"), engine("d")
    with front(pair([p], [d])) as router:
        d.stop()
        until(lambda: not router.router.fleet.engines[1].up, "it is seen to be gone")
        assert ask(router.url, LONG).json()["choices"] == [{"text": "p"}]
    assert p.seen == [LONG]


def test_a_silent_prefill_engine_costs_its_limit(engine: Start) -> None:
    p, d = engine("p", hang=True), engine("d")
    with front(pair([p], [d], timeouts={"prefill": 0.3})) as router:
        begun = time.monotonic()
        assert ask(router.url, LONG).json()["choices"] == [{"text": "d"}]
        assert time.monotonic() - begun < 10
        assert prefills(router, "failed") == 1
    until(lambda: p.cancelled == 1, "the prefill is ended at its engine")


def test_another_decode_engine_answers_when_the_paired_one_is_gone(engine: Start) -> None:
    p, d, e = engine("p"), engine("d", status=503), engine("e")
    with front(pair([p], [d, e], nodes=True)) as router:
        assert [ask(router.url, LONG).json()["choices"][0]["text"] for _ in range(2)] == ["e", "e"]
    assert len(p.seen) == 2


def test_prompts_in_a_batch_and_log_probabilities_of_prompts_are_not_split(engine: Start) -> None:
    p, d = engine("p"), engine("d")
    with front(pair([p], [d])) as router:
        ask(router.url, {**LONG, "prompt": ["word " * 1000, "other " * 1000]})
        ask(router.url, {**LONG, "prompt_logprobs": 1})
    assert (len(p.seen), len(d.seen)) == (0, 2)
