"""Which adapter a request is computed with. No engine: real files, and what vLLM's requests say of them."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kvasir.engine.weights import digest_of_adapter

from kvasir_vllm.scheduler import adapters as module
from kvasir_vllm.scheduler.adapters import Adapter, Adapters


@pytest.fixture
def adapters() -> Iterator[Adapters]:
    made = Adapters()
    yield made
    made.close()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    place = tmp_path / "tuned"
    place.mkdir()
    (place / "adapter_config.json").write_text('{"r": 8}')
    (place / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 100)
    return place


def request(place: object, name: str = "tuned", **more: Any) -> Any:
    return SimpleNamespace(lora_request=SimpleNamespace(lora_name=name, lora_path=str(place), **more))


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not done():
        assert time.monotonic() < end
        time.sleep(0.001)


def settled(adapters: Adapters, asked: Any) -> Adapter:
    found = adapters.of(asked)
    until(lambda: not found.pending)
    return found


def retrain(place: Path) -> None:
    with (place / "adapter_model.safetensors").open("r+b") as file:
        file.seek(12_345)
        file.write(b"other")


def test_without_an_adapter_nothing_is_looked_up(adapters: Adapters) -> None:
    found = adapters.of(SimpleNamespace(lora_request=None))
    assert (found.lora, found.known, found.pending) == ("", True, False)


def test_its_content_names_an_adapter_and_not_its_name_or_path(adapters: Adapters, files: Path, tmp_path: Path) -> None:
    first = settled(adapters, request(files))
    other = shutil.copytree(files, tmp_path / "elsewhere")
    assert first.known
    assert len(first.lora) == 64
    assert settled(adapters, request(other, "named otherwise")).lora == first.lora
    retrain(other)
    assert settled(adapters, request(other, "third")).lora not in ("", first.lora)
    assert settled(adapters, request(files, "fourth", is_3d_lora_weight=True)).lora not in ("", first.lora)


@pytest.mark.parametrize("way", ["written anew", "another path"])
def test_a_name_that_stood_for_two_adapters_is_not_shared(
    adapters: Adapters, files: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    first = settled(adapters, request(files))
    place = files
    if way == "another path":
        place = shutil.copytree(files, tmp_path / "elsewhere")
    retrain(place)
    with caplog.at_level(logging.WARNING, "vllm.kvasir"):
        for _ in range(3):
            assert not settled(adapters, request(place, load_inplace=True)).known
    assert len(caplog.records) == 1
    assert "reset_connector" in caplog.text
    # Also not when the first one is back: the engine's own cache may hold the KV of either.
    if way == "another path":
        assert not settled(adapters, request(files)).known
    adapters.forget()
    again = settled(adapters, request(place))
    assert again.known
    assert again.lora != first.lora


def test_an_adapter_that_cannot_be_read_is_not_shared(
    adapters: Adapters, files: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "vllm.kvasir"):
        assert not settled(adapters, request(tmp_path / "later", "later")).known
        assert not settled(adapters, request(tmp_path / "later", "later")).known
        assert not settled(adapters, request(files, "streamed", tensorizer_config_dict={"uri": "x"})).known
    assert [record.getMessage().split(":")[1] for record in caplog.records] == [
        " nothing is shared for the LoRA adapter later",
        " nothing is shared for the LoRA adapter streamed",
    ]
    # Fetched by the engine meanwhile: nothing else can have been loaded from there.
    shutil.copytree(files, tmp_path / "later")
    assert settled(adapters, request(tmp_path / "later", "later")).known


def test_an_adapter_that_was_not_whole_is_not_shared_later(adapters: Adapters, files: Path) -> None:
    weights = (files / "adapter_model.safetensors").rename(files / "elsewhere")
    assert not settled(adapters, request(files)).known
    weights.rename(files / "adapter_model.safetensors")
    # What the engine has read in between is not known.
    assert not settled(adapters, request(files)).known


def test_the_scheduler_does_not_wait_and_requests_share_an_answer(
    adapters: Adapters, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, calls = threading.Event(), []
    real = digest_of_adapter

    def slow(path: str, say: Any) -> bytes:
        calls.append(path)
        assert go.wait(20)
        return real(path, say)

    monkeypatch.setattr(module, "digest_of_adapter", slow)
    found = [adapters.of(request(files)) for _ in range(1000)]
    assert all(one.pending and not one.known for one in found)
    go.set()
    until(lambda: not found[0].pending)
    assert all(one.known for one in found)
    assert len(calls) == 1
    # A later request looks again.
    settled(adapters, request(files))
    assert len(calls) == 2


def test_names_are_kept_within_a_bound(adapters: Adapters, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 5)
    for number in range(20):
        settled(adapters, request(files, f"name{number}"))
    assert len(adapters._seen) == 5
    assert not adapters._waiting


def test_after_the_end_nothing_is_shared(files: Path) -> None:
    ended = Adapters()
    ended.close()
    found = ended.of(request(files))
    assert not found.pending
    assert not found.known
