from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from kvasir.engine.weights import UnknownWeightsError, digest_of

from kvasir_sglang.shared.weights import weights_of


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "config.json").write_text('{"layers": 2}')
    (directory / "a.safetensors").write_bytes(bytes(range(256)) * 40_000)
    (directory / "b.safetensors").write_bytes(b"b" * 100)
    return directory


def test_the_files_decide_unless_the_user_named_them(model: Path) -> None:
    arguments = SimpleNamespace(model_path=str(model), quantization="fp8", kv_cache_dtype="auto")
    weights = weights_of(arguments, "")
    assert (weights.model, weights.digest, weights.quantization) == ("model", digest_of(model), "fp8")
    assert "kv_cache_dtype=auto" in weights.settings
    named = weights_of(arguments, "mine")
    assert (named.model, named.digest, named.quantization) == ("mine", b"", "fp8")


def test_a_draft_models_weights_are_told_apart(model: Path, tmp_path: Path) -> None:
    draft = shutil.copytree(model, tmp_path / "draft")
    (draft / "b.safetensors").write_bytes(b"c" * 100)
    arguments = SimpleNamespace(model_path=str(model), speculative_draft_model_path=str(draft))
    assert weights_of(arguments, "").draft == digest_of(draft).hex()


@pytest.mark.parametrize("arguments", [None, SimpleNamespace(model_path=None)])
def test_nothing_that_names_the_weights_is_an_error(arguments: object) -> None:
    with pytest.raises(UnknownWeightsError):
        weights_of(arguments, "")


def test_a_model_that_is_not_here_is_an_error() -> None:
    with pytest.raises(UnknownWeightsError, match="no directory"):
        weights_of(SimpleNamespace(model_path="nobody/has-this"), "")


def test_weights_that_change_in_one_byte_are_others(model: Path) -> None:
    arguments = SimpleNamespace(model_path=str(model))
    before = weights_of(arguments, "").digest
    with (model / "a.safetensors").open("r+b") as file:
        file.seek(3_000_001)
        file.write(b"x")
    assert weights_of(arguments, "").digest != before


# ------------------------------------------------------------------------------------------------ adapters


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    place = tmp_path / "adapter"
    place.mkdir()
    (place / "adapter_config.json").write_text('{"r": 8}')
    (place / "adapter_model.safetensors").write_bytes(b"a" * 5000)
    return place


def adapters(*paths: object, **more: object) -> str:
    return weights_of(SimpleNamespace(lora_paths=list(paths), **more), "named").adapters


def test_an_adapter_that_was_trained_anew_is_another_engine(adapter: Path) -> None:
    before = adapters(f"tuned={adapter}")
    assert len(before) == 64
    with (adapter / "adapter_model.safetensors").open("r+b") as file:
        file.seek(2500)
        file.write(b"b")
    assert adapters(f"tuned={adapter}") != before


def test_adapters_are_the_same_however_they_are_given(adapter: Path) -> None:
    given = [
        f"tuned={adapter}",
        {"lora_name": "tuned", "lora_path": str(adapter)},
        SimpleNamespace(lora_name="tuned", lora_path=str(adapter)),
    ]
    assert len({adapters(one) for one in given}) == 1
    assert weights_of(SimpleNamespace(lora_paths={"tuned": str(adapter)}), "named").adapters == adapters(given[0])
    assert adapters(str(adapter)) == adapters(f"{adapter}={adapter}")


def test_no_adapters_are_no_difference(adapter: Path) -> None:
    assert adapters() == adapters(f"tuned={adapter}", enable_lora=False) == ""


def test_an_adapter_that_cannot_be_read_is_shared_with_nobody(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").unlink()
    assert adapters(f"tuned={adapter}") != adapters(f"tuned={adapter}")
