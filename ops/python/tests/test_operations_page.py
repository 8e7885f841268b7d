"""docs/operations.md against the real node: every metric is described, and none that does not exist."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvasir_ops import home
from kvasir_ops.node_process import NodePlaces, NodeProcess, configuration

MIB = 1 << 20
START_BOUND_SECONDS = 60.0
_FAMILY = re.compile(r"^# TYPE (kvasir_\w+) ", re.MULTILINE)
_ADDRESS = re.compile(r"127\.0\.0\.1:\d+")

pytestmark = pytest.mark.integration


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    memory = Path(tempfile.mkdtemp(prefix="kvasir-test-", dir="/dev/shm"))
    places = NodePlaces(memory, tmp_path)
    settings = configuration(places, 64 * MIB, 256 * MIB, http_address="127.0.0.1:0")
    settings["node"]["name"] = "metrics"
    try:
        with NodeProcess(home(), places, settings) as process:
            process.start()
            yield process
    finally:
        shutil.rmtree(memory)


def get(node: NodeProcess, path: str) -> str:
    """The body, once the node says where it serves HTTP and answers with 200."""
    bound = time.monotonic() + START_BOUND_SECONDS
    while True:
        node.check()
        found = _ADDRESS.search(node.places.log.read_text(encoding="utf-8"))
        if found:
            try:
                with urllib.request.urlopen(f"http://{found.group()}{path}", timeout=5) as answer:
                    return str(answer.read().decode())
            except (urllib.error.URLError, ConnectionError):
                assert time.monotonic() < bound, f"{path} does not answer"
        assert time.monotonic() < bound, "the node does not say where it serves HTTP"
        time.sleep(0.02)


def test_page_lists_the_metrics_of_the_node(node: NodeProcess) -> None:
    assert json.loads(get(node, "/health/ready"))["status"] == "up"
    served = set(_FAMILY.findall(get(node, "/metrics")))
    page = (home() / "docs" / "operations.md").read_text(encoding="utf-8")
    described = set(re.findall(r"`(kvasir_(?:node|storage)_\w+)`", page))
    assert {name for name in served if not name.endswith("_created")} == described
