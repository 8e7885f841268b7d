"""Tensor parallelism: each rank loads and stores its own shards. On CPU vLLM 0.29 runs with two ranks."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import prompts
from engine_process import Engine, transfer
from kvasir_ops.testing import Node

pytestmark = [pytest.mark.engine, pytest.mark.integration, pytest.mark.slow]


def test_two_ranks_load_what_two_ranks_stored(model: Path, node: Node, tmp_path: Path) -> None:
    asked = prompts(2, seed=20)
    with Engine(model, tmp_path / "engine.log", transfer(node.socket), tensor_parallel_size=2) as engine:
        cold = engine.generate(asked)
        engine.forget()
        warm = engine.generate(asked)
        # A failed load is computed after all, and would give the same tokens.
        assert engine.ask("counts")["failed_loads"] == 0
        assert (cold["cached"], warm["cached"]) == ([0, 0], [768, 768])
        assert cold["tokens"] == warm["tokens"]
        assert set(engine.ask("held").values()) == {0}
    # One rank packs its pages otherwise: another parallel size is another namespace here, and a clear miss.
    with Engine(model, tmp_path / "single.log", transfer(node.socket)) as single:
        assert single.generate(asked)["cached"] == [0, 0]
