"""Models whose KV is not that of full attention alone, in a real engine: sliding windows."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import prompts
from engine_process import Engine, transfer
from kvasir_ops.testing import Node
from tinymodel import write_model

pytest.importorskip("vllm", reason="runs in the environment of ./kvasir test --engines")

from kvasir_vllm.shared import compat

pytestmark = [pytest.mark.engine, pytest.mark.integration, pytest.mark.slow]

LOADED = 768  # of 900 tokens: whole chunks of 256
SERVES_WINDOWS = compat.TABLES_ON_DEMAND and compat.FAILED_RECEIVES
WINDOW = 128


def write_windowed(place: Path) -> Path:
    """Layers of full attention and layers with a sliding window: two KV groups."""
    kinds = ["sliding_attention", "full_attention"] * 2
    return write_model(place, layer_types=kinds, sliding_window=WINDOW)


def cold_then_warm(model: Path, node: Node, place: Path, groups: int) -> None:
    """The same tokens computed and loaded; other ones when zeros are loaded."""
    asked = prompts(2, seed=40)
    with Engine(model, place / "plain.log", enable_prefix_caching=False) as engine:
        expected = engine.generate(asked)["tokens"]
    with Engine(model, place / "engine.log", transfer(node.socket)) as engine:
        assert engine.ask("groups") == groups
        cold = engine.generate(asked)
        engine.forget()
        warm = engine.generate(asked)
        assert (cold["cached"], warm["cached"]) == ([0, 0], [LOADED] * 2)
        assert engine.ask("counts") == {"offered": 2 * LOADED, "failed_loads": 0}
        assert cold["tokens"] == warm["tokens"] == expected
        assert set(engine.ask("held").values()) == {0}
        engine.forget()
        engine.ask("load_zeros")
        assert engine.generate(asked)["tokens"] != expected


@pytest.mark.skipif(not SERVES_WINDOWS, reason="this vLLM ends when a load of several KV groups fails")
def test_full_attention_and_sliding_windows(node: Node, tmp_path: Path) -> None:
    cold_then_warm(write_windowed(tmp_path / "model"), node, tmp_path, groups=2)


@pytest.mark.skipif(SERVES_WINDOWS, reason="this vLLM can be served with sliding windows")
def test_sliding_windows_are_refused_where_the_engine_could_not_survive_a_failed_load(
    node: Node, tmp_path: Path
) -> None:
    with pytest.raises(AssertionError, match="sliding-window attention is not served with vLLM"):
        Engine(write_windowed(tmp_path / "model"), tmp_path / "engine.log", transfer(node.socket))
