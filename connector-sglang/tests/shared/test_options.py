from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kvasir_sglang.shared.options import EngineOptions


def test_sglangs_own_keys_beside_ours_are_left_alone() -> None:
    extra = {"backend_name": "kvasir", "interface_v1": 1, "kvasir": {"socket": "/run/x.sock", "load_deadline_ms": 7}}
    assert EngineOptions.of(extra) == EngineOptions(socket="/run/x.sock", load_deadline_ms=7)


@pytest.mark.parametrize("extra", [None, {}, {"interface_v1": 1}])
def test_everything_has_a_usual_value(extra: Any) -> None:
    assert EngineOptions.of(extra) == EngineOptions()


def test_the_socket_of_the_environment_is_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVASIR_SOCKET", "/somewhere/engine.sock")
    assert EngineOptions.of(None).socket_path == "/somewhere/engine.sock"
    assert EngineOptions(socket="/run/x.sock").socket_path == "/run/x.sock"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"sokcet": "x"}, "did you mean 'socket'"),
        ({"zzz": 1}, "there are socket"),
        ({"load_deadline_ms": "1s"}, "must be of type int"),
        ({"load_deadline_ms": 1.5}, "must be of type int"),
        ({"verify": 1}, "must be of type bool"),
        ({"load_deadline_ms": 0}, "at least 1"),
        ({"copy_threads": -1}, "not be negative"),
        ({"yield_ms": -1}, "not be negative"),
        ([], "must be an object"),
    ],
)
def test_a_wrong_option_is_refused(section: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EngineOptions.of({"kvasir": section})


@pytest.mark.parametrize(("processors", "threads"), [(1, 1), (2, 1), (3, 1), (4, 2), (8, 4), (128, 4)])
def test_half_of_the_processors_copy_and_at_most_four(
    monkeypatch: pytest.MonkeyPatch, processors: int, threads: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(processors)))
    assert EngineOptions().threads == threads
    assert EngineOptions(copy_threads=3).threads == 3


def test_the_token_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    assert EngineOptions(token_file=str(tmp_path / "token")).token() == b"secret"
    assert EngineOptions().token() == b""


def test_the_socket_is_that_of_a_node_of_this_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert EngineOptions().socket_path == "/run/user/7/kvasir/local.sock"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert EngineOptions().socket_path == "/run/kvasir/local.sock"
    assert EngineOptions(socket="/x").socket_path == "/x"
