"""The demo with the real node: a short run, and what an interrupted one leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvasir_ops import home

SHARED_MEMORY = Path("/dev/shm")
START_BOUND_SECONDS = 300.0

pytestmark = pytest.mark.integration


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A place on disk of its own; nothing of the demo may be left there or in shared memory."""
    place = tmp_path / "state"
    yield place
    assert list(place.iterdir()) == []


def demo(state: Path, *arguments: str) -> list[str]:
    return [os.fspath(home() / "kvasir"), "demo", "--plain", "--state-dir", os.fspath(state), *arguments]


def demo_places() -> set[Path]:
    return set(SHARED_MEMORY.glob("kvasir-demo-*"))


def test_short_run_survives_kill_9_with_right_bytes(state: Path, tmp_path: Path) -> None:
    before = demo_places()
    figures, picture = tmp_path / "demo.json", tmp_path / "demo.svg"
    run = subprocess.run(
        demo(state, "--requests", "300", "--json", os.fspath(figures), "--picture", os.fspath(picture)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "wrong bytes: 0" in run.stdout.splitlines()
    summary = json.loads(figures.read_text(encoding="utf-8"))
    assert summary["requests"] == 300
    assert summary["objects_acknowledged"] > 0
    assert (summary["wrong_bytes"], summary["objects_lost"], summary["failures"]) == (0, 0, [])
    assert summary["bytes_verified"] == sum(summary["hits"].values()) * summary["object_bytes"] > 0
    assert summary["tokens_not_recomputed"] > 0
    assert summary["hits"]["remote"] > 0
    assert summary["hit_rate"] > summary["local_only_hit_rate"]
    assert "<svg" in picture.read_text(encoding="utf-8")
    assert demo_places() - before == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_leaves_nothing_behind(state: Path, tmp_path: Path, number: signal.Signals) -> None:
    before = demo_places()
    output = tmp_path / "output"
    with output.open("wb") as sink:
        # A shell's background job ignores SIGINT, and so do its children.
        command = ["env", "--default-signal=INT", *demo(state)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True)
    try:
        bound = time.monotonic() + START_BOUND_SECONDS
        while b"are one cache" not in output.read_bytes():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < bound, output.read_text()
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(60) == 130, output.read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert demo_places() - before == set()
    assert "nothing is left behind" in output.read_text()
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert os.fspath(state) not in left
