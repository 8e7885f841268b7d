"""Scores from a real node: the engine whose node holds the prompt gets it."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pytest
from kvasir import Client, Namespace, Shard
from kvasir_ops.testing import Node

from kvasir_vllm.hashing import block_hashes
from kvasir_vllm.published import Published
from router.test_front import ask
from router.upstreams import MODEL, Upstream, front, until

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
