from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from kvasir_sglang.weights import UnknownWeightsError, digest_of, weights_of


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "config.json").write_text('{"layers": 2}')
    (directory / "a.safetensors").write_bytes(bytes(range(256)) * 40_000)
    (directory / "b.safetensors").write_bytes(b"b" * 100)
    return directory


def test_the_same_files_in_another_place_have_the_same_digest(model: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(model, tmp_path / "elsewhere")
    assert digest_of(model) == digest_of(copied)
    assert len(digest_of(model)) == 32


@pytest.mark.parametrize("change", ["config", "header", "end", "name", "size"])
def test_other_weights_have_another_digest(model: Path, change: str) -> None:
    before = digest_of(model)
    weights = model / "a.safetensors"
    content = bytearray(weights.read_bytes())
    if change == "config":
        (model / "config.json").write_text('{"layers": 3}')
    elif change == "header":
        weights.write_bytes(b"x" + content[1:])
    elif change == "end":
        weights.write_bytes(content[:-1] + b"x")
    elif change == "name":
        weights.rename(model / "c.safetensors")
    else:
        weights.write_bytes(content + b"\0")
    assert digest_of(model) != before


def test_a_directory_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownWeightsError, match="holds no weights"):
        digest_of(tmp_path)


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


def test_the_digest_of_the_same_files_never_changes(model: Path) -> None:
    # Another one would make unreachable what engines have stored.
    assert digest_of(model).hex() == "d7e71346f97280ba318df5fc4812ccb6565d10566b8b78cbe65cc32f242738bd"
