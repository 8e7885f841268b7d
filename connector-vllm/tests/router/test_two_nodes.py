"""Prefill and decode on two real vLLM servers, each with a node of its own, behind the router."""

from __future__ import annotations

import pytest

# Three servers start first, which takes minutes on a busy machine.
pytestmark = [pytest.mark.engine, pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]
pytest.importorskip("vllm")

import random  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from kvasir_ops import home, tiny_model  # noqa: E402
from kvasir_ops.testing import cluster  # noqa: E402
from kvasir_ops.vllm_server import MODEL, VllmServer, complete, kvasir_transfer  # noqa: E402

from router.upstreams import front  # noqa: E402

LOADED = "vllm:external_prefix_cache_hits_total"
FAILED = "vllm:kvasir_failed_loads_total"
CHUNK = 256
PATIENT = {"lookup_timeout": 20.0, "load_timeout": 60.0, "store_timeout": 60.0, "handoff_timeout": 20.0}


def test_what_one_node_s_engine_computed_is_loaded_by_the_other_node_s(tmp_path: Path) -> None:
    chosen = random.Random(1)
    asked = [[chosen.randrange(3, tiny_model.VOCABULARY) for _ in range(1100)] for _ in range(3)]
    model, python = tmp_path / "model", Path(sys.executable)
    tiny_model.write(model)
    with VllmServer(home(), python, model, tmp_path / "plain.log", None) as plain:
        plain.start()
        plain.wait_ready()
        expected = [plain.complete(prompt, 12).text for prompt in asked]
    assert len(set(expected)) == len(asked)
    with (
        cluster("node-p", "node-d") as (beside_prefill, beside_decode),
        VllmServer(
            home(), python, model, tmp_path / "prefill.log",
            kvasir_transfer(beside_prefill.socket, "kv_producer", **PATIENT),
        ) as prefill,
        VllmServer(
            home(), python, model, tmp_path / "decode.log",
            kvasir_transfer(beside_decode.socket, "kv_consumer", **PATIENT),
        ) as decode,
    ):  # fmt: skip
        for server in (prefill, decode):
            server.start()
        for server in (prefill, decode):
            server.wait_ready()
        settings = {
            "engines": [
                {"url": prefill.url, "role": "prefill", "node": beside_prefill.socket, "node_name": "node-p"},
                {"url": decode.url, "role": "decode", "node": beside_decode.socket, "node_name": "node-d"},
            ],
            "timeouts": {"scores": 5.0, "probe": 20.0},
        }
        with front(settings) as router:
            for number, prompt in enumerate(asked):
                before = decode.metric(LOADED)
                answer = complete(router.server.port, {"model": MODEL, "prompt": prompt, "max_tokens": 12})
                assert router.metric("kvasir_router_prefills_total", outcome="apart") == number + 1
                # Its whole chunks at least; the tail is handed off too.
                assert decode.metric(LOADED) - before >= len(prompt) // CHUNK * CHUNK
                assert answer.text == expected[number]
        assert decode.metric(FAILED) == 0
