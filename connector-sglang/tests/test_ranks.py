"""Two tensor-parallel ranks, each a process with SGLang's controller, agree over gloo on what both can load."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kvasir_ops.testing import Node

pytestmark = [pytest.mark.engine, pytest.mark.integration]

pytest.importorskip("sglang", reason="runs in the environment of ./kvasir test --engines")

ANSWER_SECONDS = 120.0
PAGE = 64


class Rank:
    def __init__(self, rank: int, socket: str, store: Path, mla: bool, linker: bool) -> None:
        script = Path(__file__).with_name("rank.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(rank), socket, str(store), str(int(mla)), str(int(linker))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(script.parent), os.environ.get("PYTHONPATH", "")])},
        )

    def tell(self, step: str, seed: int = 0, pages: int = 0) -> None:
        assert self.process.stdin is not None
        print(json.dumps([step, seed, pages]), file=self.process.stdin, flush=True)

    def answer(self) -> Any:
        assert self.process.stdout is not None
        watchdog = threading.Timer(ANSWER_SECONDS, self.process.kill)
        watchdog.start()
        try:
            line = self.process.stdout.readline()
        finally:
            watchdog.cancel()
        assert line, "the rank ended"
        return json.loads(line)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def two_ranks(socket: str, store: Path, mla: bool = False, linker: bool = False) -> Iterator[list[Rank]]:
    ranks = [Rank(rank, socket, store, mla, linker) for rank in (0, 1)]
    try:
        assert [rank.answer() for rank in ranks] == ["ready", "ready"]
        yield ranks
    finally:
        for rank in ranks:
            if rank.process.poll() is None:
                rank.close()


@pytest.fixture(scope="module")
def pair(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Rank]]:
    """Two ranks for tests that leave them running; a rank takes long to start."""
    with two_ranks(node.socket, tmp_path_factory.mktemp("ranks") / "store") as ranks:
        yield ranks


def both(ranks: list[Rank], step: str, seed: int, pages: int) -> list[Any]:
    for rank in ranks:
        rank.tell(step, seed, pages)
    return [rank.answer() for rank in ranks]


def test_each_rank_gets_its_own_bytes_back(pair: list[Rank]) -> None:
    seed = random.getrandbits(32)
    (first_stored, first), (second_stored, second) = both(pair, "backup", seed, 6)
    assert first_stored == second_stored == 6 * PAGE
    assert first != second
    assert both(pair, "prefetch", seed, 6) == [first, second]


def test_the_ranks_agree_on_what_both_have(pair: list[Rank]) -> None:
    seed = random.getrandbits(32)
    _, first = both(pair[:1], "backup", seed, 6)[0]
    _, second = both(pair[1:], "backup", seed, 3)[0]
    assert both(pair, "prefetch", seed, 6) == [first[:3], second]


def test_a_replicated_model_is_stored_once_and_loaded_by_both(node: Node, tmp_path: Path) -> None:
    seed = random.getrandbits(32)
    with two_ranks(node.socket, tmp_path / "store", mla=True) as ranks:
        (stored, wanted), (skipped, _) = both(ranks, "backup", seed, 6)
        assert stored == 6 * PAGE
        assert skipped == 0
        assert both(ranks, "prefetch", seed, 6) == [wanted, wanted]


def test_a_rank_that_dies_takes_nothing_from_the_other(node: Node, tmp_path: Path) -> None:
    seed = random.getrandbits(32)
    with two_ranks(node.socket, tmp_path / "store") as ranks:
        before = both(ranks, "backup", seed, 4)
        ranks[1].process.kill()
        ranks[1].process.wait()
        ranks[0].tell("exists")
        assert ranks[0].answer() == 0
        stored, _ = both(ranks[:1], "backup", seed + 1, 4)[0]
        assert stored == 4 * PAGE
        ranks[0].process.kill()
        ranks[0].process.wait()
    with two_ranks(node.socket, tmp_path / "again") as ranks:
        assert both(ranks, "prefetch", seed, 4) == [before[0][1], before[1][1]]


@pytest.mark.parametrize("mla", [False, True], ids=["split", "replicated"])
def test_the_ranks_of_a_cache_linker_agree(node: Node, tmp_path: Path, mla: bool) -> None:
    seed = random.getrandbits(32)
    with two_ranks(node.socket, tmp_path / "store", mla=mla, linker=True) as ranks:
        (first_stored, first), (second_stored, second) = both(ranks, "backup", seed, 6)
        assert first_stored == second_stored == 6 * PAGE
        assert first != second
        # What is the same on all ranks is stored by the first, and loaded by all.
        assert both(ranks, "prefetch", seed, 6) == [first, first if mla else second]
        assert both(ranks, "prefetch", seed + 1, 6) == [[], []]
