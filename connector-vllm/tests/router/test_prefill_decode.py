"""Prefill and decode on two real vLLM servers that share a node, behind the router."""

from __future__ import annotations

import pytest

# Two servers start first, which takes minutes on a busy machine.
pytestmark = [pytest.mark.engine, pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]
pytest.importorskip("vllm")

import random  # noqa: E402
import sys  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from contextlib import ExitStack  # noqa: E402
from pathlib import Path  # noqa: E402

from kvasir_ops import home, tiny_model  # noqa: E402
from kvasir_ops.testing import MIB, Node  # noqa: E402
from kvasir_ops.vllm_server import MODEL, VllmServer, complete, kvasir_transfer  # noqa: E402

from kvasir_vllm.doctor.__main__ import main as doctor  # noqa: E402
from router.upstreams import front, until  # noqa: E402

LOADED = "vllm:external_prefix_cache_hits_total"
CHUNK = 256


class Pair:
    """A prefill server, a decode server, and the node that they share."""

    def __init__(self, node: Node, prefill: VllmServer, decode: VllmServer) -> None:
        self.node, self.prefill, self.decode = node, prefill, decode

    def settings(self) -> dict[str, object]:
        return {
            "engines": [
                {"url": self.prefill.url, "role": "prefill", "node": self.node.socket},
                {"url": self.decode.url, "role": "decode", "node": self.node.socket},
            ],
            # A busy machine: what is asked of the node may take its time here.
            "timeouts": {"scores": 5.0, "probe": 20.0},
        }


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    place = tmp_path_factory.mktemp("pair")
    tiny_model.write(place / "model")
    with ExitStack() as stack:
        node = stack.enter_context(Node(64 * MIB))
        servers = []
        for role in ("kv_producer", "kv_consumer"):
            transfer = kvasir_transfer(node.socket, role)
            server = VllmServer(home(), Path(sys.executable), place / "model", place / f"{role}.log", transfer)
            servers.append(stack.enter_context(server))
            server.start()
        for server in servers:
            server.wait_ready()
        yield Pair(node, *servers)


def prompt(seed: int, tokens: int = 1100) -> list[int]:
    chosen = random.Random(seed)
    return [chosen.randrange(3, tiny_model.VOCABULARY) for _ in range(tokens)]


def test_a_prompt_is_computed_by_one_server_and_loaded_by_the_other(pair: Pair) -> None:
    with front(pair.settings()) as router:
        port = router.server.port
        asked = prompt(1)
        before = pair.decode.metric(LOADED)
        answer = complete(port, {"model": MODEL, "prompt": asked, "max_tokens": 12})
        assert router.metric("kvasir_router_prefills_total", outcome="apart") == 1
        assert pair.decode.metric(LOADED) - before == len(asked) // CHUNK * CHUNK
        # A salt makes every key another one: the decode server computes the same prompt from its first token.
        alone = pair.decode.complete(asked, 12, cache_salt="alone")
        assert alone.cached_tokens == 0
        assert answer.text == alone.text
        other = pair.decode.complete(prompt(2), 12, cache_salt="alone")
        assert other.text != answer.text


def test_what_the_node_holds_already_is_not_computed_again(pair: Pair) -> None:
    with front(pair.settings()) as router:
        port = router.server.port
        asked = prompt(3)
        complete(port, {"model": MODEL, "prompt": asked, "max_tokens": 4})

        def held() -> bool:
            complete(port, {"model": MODEL, "prompt": asked, "max_tokens": 4})
            return router.metric("kvasir_router_prefills_total", outcome="held") >= 1

        until(held, "the router learns what the node holds", 60)
        longer = [*asked, *prompt(4, 100)]
        prefills = router.metric("kvasir_router_prefills_total", outcome="apart")
        answer = complete(port, {"model": MODEL, "prompt": longer, "max_tokens": 12})
        assert router.metric("kvasir_router_prefills_total", outcome="apart") == prefills
        assert answer.text == pair.decode.complete(longer, 12, cache_salt="alone").text


def test_the_doctor_finds_nothing_wrong_with_them_and_that_they_meet(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    for server in (pair.prefill, pair.decode):
        server.complete(prompt(6), 4)
    status = doctor(["--engine", pair.prefill.url, "--engine", pair.decode.url, "--node", pair.node.socket])
    said = capsys.readouterr().out
    assert status == 0, said
    assert "file under one namespace" in said
    assert "block hashes are reproducible" in said


def test_requests_are_answered_right_without_the_node_and_without_the_prefill_server(pair: Pair) -> None:
    with front(pair.settings()) as router:
        port = router.server.port
        asked = prompt(5)
        expected = pair.decode.complete(asked, 12, cache_salt="alone").text
        pair.node.kill()
        assert complete(port, {"model": MODEL, "prompt": asked, "max_tokens": 12}).text == expected
        pair.prefill.stop()
        assert complete(port, {"model": MODEL, "prompt": asked, "max_tokens": 12}).text == expected
