"""``kvasir doctor --engine``: each cause of missing hits is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from kvasir import Namespace, Shard
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from kvasir_vllm.doctor.__main__ import main
from kvasir_vllm.shared.published import METRIC, Published

BASE = Namespace("tiny", 256, b"\x01" * 32, "vllm sha256", "unset", "auto", layout="tp 1 pp 1; pages")
TRANSFER = {
    "kv_connector": "KvasirConnector",
    "kv_connector_module_path": "kvasir_vllm",
    "kv_role": "kv_both",
    "kv_load_failure_policy": "recompute",
    "kv_connector_extra_config": {"socket": "/nowhere/engine.sock"},
}


class Running:
    """An engine's ``/metrics``, served for real."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        Gauge("vllm:num_requests_running", "running", registry=self.registry).set(0)
        running = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(generate_latest(running.registry))

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def count(self, name: str, value: float) -> Running:
        Counter(f"vllm:{name}", name, registry=self.registry).inc(value)
        return self

    def connected(self, namespace: Namespace = BASE, private: str = "") -> Running:
        told = Published.of(namespace, [Shard()], 32, private)
        Gauge(METRIC, "told", ["identity"], registry=self.registry).labels(told.text()).set(1)
        return self

    def prompts(self, *tokens: int) -> Running:
        histogram = Histogram(
            "vllm:request_prompt_tokens", "tokens", buckets=(100, 200, 500, 1000), registry=self.registry
        )
        for length in tokens:
            histogram.observe(length)
        return self

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def running() -> Iterator[Running]:
    one = Running()
    yield one
    one.close()


@pytest.fixture
def another() -> Iterator[Running]:
    one = Running()
    yield one
    one.close()


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(arguments)
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def test_an_engine_without_the_connector_is_told_the_flag(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    status, text = said(capsys, "--engine", running.url)
    assert status == 1
    assert "runs without Kvasir" in text
    assert "kv_load_failure_policy" in text


def test_something_that_is_no_engine_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    status, text = said(capsys, "--engine", "http://127.0.0.1:9")
    assert status == 1
    assert "cannot be read" in text


def test_prompts_that_are_too_short_for_a_chunk_are_a_problem(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    status, text = said(capsys, "--engine", running.connected().prompts(50, 60, 150, 900).url)
    assert status == 1
    assert "75% of 4 prompts are shorter than a chunk (256 tokens)" in text


def test_hashes_that_are_not_reproducible_are_a_problem(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    _, text = said(capsys, "--engine", running.connected(private="PYTHONHASHSEED is unset").url)
    assert "PROBLEM shares with no other engine" in text
    assert "PYTHONHASHSEED is unset" in text


def test_the_fields_in_which_two_engines_differ_are_named(
    running: Running, another: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    other = replace(BASE, kv_dtype="fp8", layout="tp 2 pp 1; pages")
    status, text = said(capsys, "--engine", running.connected().url, "--engine", another.connected(other).url)
    assert status == 1
    assert "kv_dtype: 'auto' and 'fp8'" in text
    assert "layout: 'tp 1 pp 1' and 'tp 2 pp 1'" in text
    assert "model:" not in text.split("together")[1]


def test_lookups_that_fail_are_a_problem_and_hits_are_counted(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    running.connected().count("kvasir_lookups", 10).count("kvasir_failed_lookups", 5)
    running.count("external_prefix_cache_hits", 512).count("external_prefix_cache_queries", 2048)
    status, text = said(capsys, "--engine", running.url)
    assert status == 1
    assert "5 of 10 lookups were not answered in time" in text
    assert "512 of 2048 tokens" in text


def test_a_configuration_is_checked_before_the_engine_runs(capsys: pytest.CaptureFixture[str]) -> None:
    status, text = said(capsys, "--engine", json.dumps(TRANSFER))
    assert status == 1
    assert "ok      kv_load_failure_policy is recompute" in text
    assert "the node on /nowhere/engine.sock does not answer" in text


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kv_load_failure_policy": None}, "a request whose load fails ends with an error"),
        ({"kv_connector": "LMCacheConnectorV1"}, "kv_connector is 'LMCacheConnectorV1'"),
        ({"kv_connector_extra_config": {"sokcet": "x"}}, "did you mean 'socket'"),
        ({"kv_role": None}, "kv_role is None"),
    ],
)
def test_each_mistake_in_a_configuration_is_named(
    change: dict[str, Any], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = {name: value for name, value in {**TRANSFER, **change}.items() if value is not None}
    status, text = said(capsys, "--engine", json.dumps(changed))
    assert status == 1
    assert complaint in text


def test_a_file_of_vllms_settings_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "vllm.yaml"
    file.write_text(f"block-size: 32\nprefix-caching-hash-algo: xxhash\nkv-transfer-config: '{json.dumps(TRANSFER)}'\n")
    status, text = said(capsys, "--engine", str(file))
    assert status == 1
    assert "prefix_caching_hash_algo is xxhash" in text
    assert "a chunk has 256 tokens" in text


@pytest.mark.parametrize("text", ["/nowhere/vllm.yaml", "{", ""])
def test_what_is_no_configuration_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, told = said(capsys, "--engine", text)
    assert status == 2
    assert told.startswith("kvasir doctor: ")
