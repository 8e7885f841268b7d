"""Prefill and decode on two real vLLM servers, each with a node of one cluster, behind the router."""

from __future__ import annotations

import pytest

# Two servers start first, which takes minutes on a busy machine.
pytestmark = [
    pytest.mark.engine, pytest.mark.integration, pytest.mark.slow, pytest.mark.one_version, pytest.mark.timeout(900),
]  # fmt: skip
pytest.importorskip("vllm")

import random  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from concurrent.futures import ThreadPoolExecutor  # noqa: E402
from contextlib import ExitStack  # noqa: E402
from pathlib import Path  # noqa: E402

from kvasir_bench.engines import tiny_model  # noqa: E402
from kvasir_bench.engines.vllm_server import MODEL, VllmServer, complete, kvasir_transfer  # noqa: E402
from kvasir_ops import home  # noqa: E402
from kvasir_ops.testing import Node, cluster  # noqa: E402
from kvasir_vllm.doctor.__main__ import main as doctor  # noqa: E402
from upstreams import front, until  # noqa: E402

LOADED = "vllm:external_prefix_cache_hits_total"
NAMES = ("node-p", "node-d")


class Pair:
    """A prefill server and a decode server, and the node beside each."""

    def __init__(self, nodes: tuple[Node, ...], prefill: VllmServer, decode: VllmServer) -> None:
        self.nodes, self.prefill, self.decode = nodes, prefill, decode

    def settings(self) -> dict[str, object]:
        return {
            "engines": [
                {"url": server.url, "role": role, "node": node.socket, "node_name": name}
                for server, role, node, name in zip(
                    (self.prefill, self.decode), ("prefill", "decode"), self.nodes, NAMES, strict=True
                )
            ],
            # A busy machine: what is asked of the node may take its time here.
            "timeouts": {"scores": 5.0, "probe": 20.0},
        }


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    place = tmp_path_factory.mktemp("pair")
    tiny_model.write(place / "model")
    with ExitStack() as stack:
        nodes = stack.enter_context(cluster(*NAMES))
        servers = []
        for role, node in zip(("kv_producer", "kv_consumer"), nodes, strict=True):
            # A busy machine: what comes from the other node may take its time here.
            transfer = kvasir_transfer(node.socket, role, lookup_timeout=10.0, handoff_timeout=10.0)
            server = VllmServer(home(), Path(sys.executable), place / "model", place / f"{role}.log", transfer)
            servers.append(stack.enter_context(server))
            server.start()
        for server in servers:
            server.wait_ready()
        yield Pair(nodes, *servers)


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
        # All of it came from the other node, the tail that fills no chunk too.
        assert pair.decode.metric(LOADED) - before == len(asked)
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
    status = doctor(["--engine", pair.prefill.url, "--engine", pair.decode.url, "--node", pair.nodes[0].socket])
    said = capsys.readouterr().out
    assert status == 0, said
    assert "file under one namespace" in said
    assert "block hashes are reproducible" in said


def test_requests_are_answered_right_when_prefill_dies_in_their_middle_and_without_nodes(pair: Pair) -> None:
    """Last of this module: neither comes back."""
    with front(pair.settings()) as router, ThreadPoolExecutor(1) as pool:
        port = router.server.port
        asked, later = prompt(5), prompt(7)
        expected = [pair.decode.complete(one, 12, cache_salt="alone").text for one in (asked, later)]
        # It accepts the request, and will never answer.
        pair.prefill.signal_all(signal.SIGSTOP)
        waiting = pool.submit(complete, port, {"model": MODEL, "prompt": asked, "max_tokens": 12})
        until(lambda: router.router.fleet.engines[0].requests > 0, "the prefill server has the request")
        assert not waiting.done()
        pair.prefill.signal_all(signal.SIGKILL)
        assert waiting.result(60).text == expected[0]
        assert router.metric("kvasir_router_prefills_total", outcome="failed") == 1
        for node in pair.nodes:
            node.kill()
        assert complete(port, {"model": MODEL, "prompt": later, "max_tokens": 12}).text == expected[1]
