"""In real engines: what was computed with other weights or with another adapter is never loaded, whatever its name."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import prompts
from engine_process import Engine, transfer
from kvasir_ops.testing import Node, until
from tinymodel import write_adapter, write_model

pytestmark = [pytest.mark.engine, pytest.mark.integration]

LOADED = 768
LORA = {"enable_lora": True, "max_lora_rank": 8, "max_loras": 2}

Start = Callable[..., Engine]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Engines that end with the test; without a node they are plain ones."""
    started: list[Engine] = []

    def make(model: Path, node: Node | None = None, **options: Any) -> Engine:
        if node is None:
            options |= {"enable_prefix_caching": False}
        log = tmp_path / f"engine{len(started)}.log"
        started.append(Engine(model, log, transfer(node.socket) if node is not None else None, **options))
        return started[-1]

    yield make
    for engine in started:
        engine.close()


def lora(place: Path, **more: Any) -> dict[str, Any]:
    return {"lora_name": "tuned", "lora_int_id": 1, "lora_path": str(place), **more}


def stored(engine: Engine, asked: list[list[int]], **options: Any) -> list[list[int]]:
    """What the engine generates, once it has stored its prompts as well."""
    answer = engine.generate(asked, **options)
    engine.ask("drain")
    tokens: list[list[int]] = answer["tokens"]
    return tokens


@pytest.mark.one_version
def test_weights_that_change_in_place_are_another_model(node: Node, start: Start, tmp_path: Path) -> None:
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    # Large enough that a few samples of the file meet hardly any key projection.
    model = write_model(tmp_path / "changed", intermediate=4096, vocabulary=16384)
    asked = prompts(1, seed=300)
    with start(model, node) as before:
        first = stored(before, asked)
    weights = model / "model.safetensors"
    size = weights.stat().st_size
    with safe_open(weights, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name in tensors:
        if "k_proj" in name:
            tensors[name] = (tensors[name] * 1.5).to(torch.bfloat16)
    save_file(tensors, str(weights), metadata={"format": "pt"})
    assert weights.stat().st_size == size
    wanted = start(model).generate(asked)["tokens"]
    assert wanted != first
    after = start(model, node)
    answer = after.generate(asked)
    assert answer["cached"] == [0]
    assert answer["tokens"] == wanted
    # What it stored itself it finds.
    after.forget()
    assert after.generate(asked)["cached"] == [LOADED]


@pytest.mark.one_version
def test_an_adapter_that_was_trained_anew_under_its_name_and_path_is_another_one(
    model: Path, node: Node, start: Start, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "tuned", seed=1)
    asked = prompts(1, seed=301)
    with start(model, node, **LORA) as before:
        first = stored(before, asked, lora=lora(adapter))
        before.forget()
        again = before.generate(asked, lora=lora(adapter))
        assert again["cached"] == [LOADED]
        assert again["tokens"] == first
        # Never the model's own, either way.
        assert before.generate(asked)["cached"] == [0]
    write_adapter(adapter, seed=2)
    wanted = start(model, **LORA).generate(asked, lora=lora(adapter))["tokens"]
    assert wanted != first
    answer = start(model, node, **LORA).generate(asked, lora=lora(adapter))
    assert answer["cached"] == [0]
    assert answer["tokens"] == wanted


@pytest.mark.one_version
def test_one_adapter_at_two_paths_is_shared(model: Path, node: Node, start: Start, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "tuned", seed=3)
    elsewhere = shutil.copytree(adapter, tmp_path / "elsewhere" / "tuned")
    asked = prompts(1, seed=302)
    with start(model, node, **LORA) as before:
        first = stored(before, asked, lora=lora(adapter))
    answer = start(model, node, **LORA).generate(asked, lora=lora(elsewhere))
    # vLLM 0.32 has the path in its block hashes, 0.29 has the name alone. What its hashes tell apart is not shared.
    request = SimpleNamespace(lora_request=SimpleNamespace(lora_name="name", lora_path="path"))
    by_path = "path" in str(kv_cache_utils()._gen_lora_extra_hash_keys(request))
    assert answer["cached"] == [0 if by_path else LOADED]
    assert answer["tokens"] == first


def kv_cache_utils() -> Any:
    """vLLM's module, which an environment without vLLM does not have."""
    return pytest.importorskip("vllm.v1.core.kv_cache_utils")


def test_an_adapter_that_changes_under_a_running_engine_is_not_shared(
    model: Path, node: Node, start: Start, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "tuned", seed=4)
    one, other = prompts(2, seed=303)
    engine = start(model, node, **LORA)
    stored(engine, [one], lora=lora(adapter))
    write_adapter(adapter, seed=5)
    engine.forget()
    # Loaded anew under its name: nothing of the old one is loaded, and nothing is stored.
    assert engine.generate([one], lora=lora(adapter, load_inplace=True))["cached"] == [0]
    stored(engine, [other], lora=lora(adapter))
    engine.forget()
    assert engine.generate([other], lora=lora(adapter))["cached"] == [0]
    assert engine.log.count("nothing is shared for the LoRA adapter tuned") == 1
    # Once everything is forgotten the name stands for the new one, also in other engines' eyes.
    assert engine.ask("new_generation")
    wanted = stored(engine, [other], lora=lora(adapter))
    engine.forget()
    answer = engine.generate([other], lora=lora(adapter))
    assert answer["cached"] == [LOADED]
    assert answer["tokens"] == wanted


def test_an_engine_serves_while_its_weights_are_hashed(
    model: Path, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stepping import Harness

    from kvasir_vllm import connector
    from kvasir_vllm.shared.fingerprint import identity_of

    hashed = threading.Event()
    real = identity_of

    def slow(*arguments: Any) -> Any:
        assert hashed.wait(60)
        return real(*arguments)

    monkeypatch.setattr(connector, "IDENTITY_PATIENCE_S", 0.0)
    monkeypatch.setattr(connector, "identity_of", slow)
    harness = Harness(model, node.socket)
    try:
        asked = prompts(1, 500, seed=304)[0]
        for turn in range(2):
            harness.add(f"early{turn}", asked, 1)
            harness.run()
            harness.forget()
        assert harness.finished == {"early0": "length", "early1": "length"}
        assert harness.connector._scheduler.offered_tokens == 0
        # Weights that were updated before anything was known of them: what is stored is of a generation of its own.
        assert harness.connector.reset_cache()
        hashed.set()
        end = time.monotonic() + 60
        turn = 0
        while not harness.connector._scheduler.offered_tokens:
            assert time.monotonic() < end
            harness.add(f"late{turn}", asked, 1)
            harness.run()
            harness.forget()
            turn += 1
        assert harness.connector._identity.namespace.generation > 0
        until(lambda: not any(harness.held().values()), f"everything is given back: {harness.held()}", 10)
    finally:
        hashed.set()
        harness.close()
