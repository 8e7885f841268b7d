"""Scores from a real node: the engine whose node holds the prompt gets it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace

import httpx
import numpy as np
import pytest
from kvasir import Client, Namespace, Shard
from kvasir_ops.testing import Node
from kvasir_vllm.shared.hashing import block_hashes
from kvasir_vllm.shared.published import Published
from test_front import ask
from upstreams import MODEL, Upstream, front, until

from kvasir_router import scores

pytestmark = pytest.mark.integration
Start = Callable[..., Upstream]
CHUNK, BLOCK = 64, 32
SEED = os.environ.get("PYTHONHASHSEED") or "unset"
NAMESPACE = Namespace("tiny", CHUNK, hash_algorithm="vllm sha256", hash_seed=SEED)
SHARDS = (Shard(0, 2), Shard(2, 4))


def store(socket: str, tokens: list[int]) -> None:
    """What an engine stores of this prompt."""
    hashes = block_hashes("sha256", os.environ.get("PYTHONHASHSEED"), tokens, BLOCK)
    with Client.connect(socket, namespace=NAMESPACE, shards=SHARDS) as client:
        keys = hashes[1::2]
        for shard in range(len(SHARDS)):
            assert client.store(keys, np.ones((len(keys), 4096), np.uint8), shard=shard).committed == len(keys)


def test_the_engine_whose_node_holds_the_prompt_gets_it(engine: Start, node: Node) -> None:
    tokens = list(range(1000))
    store(node.socket, tokens)
    identity = Published.of(NAMESPACE, SHARDS, BLOCK, "").text()
    one, two = engine("one"), engine("two", identity=identity)
    settings = {
        "engines": [{"url": one.url}, {"url": two.url, "node": node.socket}],
        "timeouts": {"scores": 5},
    }
    with front(settings) as router:
        body = {"model": MODEL, "prompt": tokens}
        until(lambda: ask(router.url, body).json()["choices"] == [{"text": "two"}] and _held(router) >= 960, "scores")
        seen = len(one.seen)
        for _ in range(4):
            ask(router.url, body)
        assert len(one.seen) == seen
        before = _held(router)
        ask(router.url, {**body, "cache_salt": "another"})
        assert _held(router) == before


def _held(router: object) -> float:
    metric: float = router.metric("kvasir_router_held_tokens_total")  # type: ignore[attr-defined]
    return metric


def test_a_node_that_is_gone_is_balance_and_a_count(engine: Start, own_node: Node) -> None:
    tokens = list(range(1000))
    store(own_node.socket, tokens)
    one = engine("one", identity=Published.of(NAMESPACE, SHARDS, BLOCK, "").text())
    settings = {"engines": [{"url": one.url, "node": own_node.socket}], "timeouts": {"scores": 0.2}}
    with front(settings) as router:
        body = {"model": MODEL, "prompt": tokens}
        until(lambda: ask(router.url, body).status_code == 200 and _held(router) > 0, "scores")
        own_node.kill()
        assert ask(router.url, body).status_code == 200
        assert router.metric("kvasir_router_score_failures_total", engine=one.url) >= 1


def test_a_long_prompt_is_hashed_once_and_not_in_the_event_loop(
    engine: Start, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []

    def hashing(*given: object, **named: object) -> list[bytes]:
        threads.append(threading.current_thread().name)
        return block_hashes(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(scores, "block_hashes", hashing)
    identity = Published.of(NAMESPACE, SHARDS, BLOCK, "").text()
    engines = [{"url": engine(name, identity=identity).url, "node": node.socket} for name in ("one", "two")]
    with front({"engines": engines, "timeouts": {"scores": 5}}) as router:
        until(
            lambda: ask(router.url, {"model": MODEL, "prompt": [1] * 64}).status_code == 200 and bool(threads), "scores"
        )
        until(lambda: _known(router) == 2, "both engines' nodes are known")
        threads.clear()
        assert ask(router.url, {"model": MODEL, "prompt": list(range(100_000))}).status_code == 200
    assert len(threads) == 1
    assert threads[0].startswith("router-work")


def _known(router: object) -> int:
    nodes = router.router.scores._nodes  # type: ignore[attr-defined]
    return sum(node.published is not None for node in nodes.values())


def test_a_prompt_that_cannot_be_hashed_is_balanced(engine: Start, node: Node) -> None:
    namespace = replace(NAMESPACE, hash_algorithm="vllm sha256_cbor")
    one = engine("one", identity=Published.of(namespace, SHARDS, BLOCK, "").text())
    with front({"engines": [{"url": one.url, "node": node.socket}], "timeouts": {"scores": 5}}) as router:
        body = {"model": MODEL, "prompt": list(range(200))}
        until(lambda: ask(router.url, body).status_code == 200 and _known(router) == 1, "scores")
        salted = json.dumps({**body, "cache_salt": "\ud800"}).encode()
        assert httpx.post(f"{router.url}/v1/completions", content=salted, timeout=10).status_code == 200
        assert router.metric("kvasir_router_score_failures_total", engine=one.url) == 1
