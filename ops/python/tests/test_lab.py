"""The lab with real nodes, in a small form: a trace, faults, every byte, and nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvasir_ops import home
from kvasir_ops.lab.network import unavailable

SHARED_MEMORY = Path("/dev/shm")

pytestmark = pytest.mark.integration


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A place on disk of its own; nothing of the lab may be left there or in shared memory."""
    place = tmp_path / "state"
    before = set(SHARED_MEMORY.glob("kvasir-lab-*"))
    yield place
    assert list(place.iterdir()) == []
    assert set(SHARED_MEMORY.glob("kvasir-lab-*")) - before == set()
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert os.fspath(place) not in left


def run(state: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], dict[str, object]]:
    """A run of the command, and its summary; in namespaces where that is possible."""
    figures = state.parent / "lab.json"
    where = ["--loopback"] if unavailable() else []
    command = [os.fspath(home() / "kvasir"), "lab", "--plain", "--state-dir", os.fspath(state)]
    done = subprocess.run(
        [*command, "--json", os.fspath(figures), *where, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    summary = json.loads(figures.read_text(encoding="utf-8")) if figures.is_file() else {}
    return done, summary


@pytest.mark.slow
def test_pool_gives_right_bytes_over_faults_of_nodes_and_network(state: Path) -> None:
    # Of every kind that this machine can have: one that ends a node, one that separates it, one that damages objects.
    kinds = "kill,corrupt" if unavailable() else "kill,corrupt,partition"
    count = str(len(kinds.split(",")))
    done, summary = run(state, "--requests", "150", "--faults", count, "--seed", "2", "--kinds", kinds)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (summary["wrong_bytes"], summary["objects_lost"], summary["hangs"]) == (0, 0, 0)
    # Then what each node stored was loaded at every other one; a short run may give no other hit between nodes.
    assert summary["became_one_seconds"] is not None


def test_nodes_alone_lose_nothing_over_kill_corruption_and_pause(state: Path) -> None:
    kinds = ["--kinds", "kill,corrupt,pause"]
    done, summary = run(state, "--alone", "--nodes", "2", "--requests", "120", "--faults", "3", "--seed", "1", *kinds)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wrong bytes: 0" in done.stdout.splitlines()
    assert (summary["wrong_bytes"], summary["objects_lost"], summary["hangs"]) == (0, 0, 0)
    assert {fault["kind"] for fault in summary["faults"]} == {"kill", "corrupt", "pause"}  # type: ignore[attr-defined]
    assert summary["objects_checked"] > 0  # type: ignore[operator]
    # What was changed behind the node's back was found, and said.
    assert summary["objects_removed"] > 0  # type: ignore[operator]
