"""Where a node is looked for that nobody named, also by users that the machine has no entry for."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys

import pytest

from kvasir.places import default_socket, user_name

NAMELESS = 54_321


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KVASIR_SOCKET", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_the_environment_names_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert default_socket() == "/run/user/7/kvasir/local.sock"
    monkeypatch.setenv("KVASIR_SOCKET", "/somewhere/engine.sock")
    assert default_socket() == "/somewhere/engine.sock"


def test_the_user_is_the_process_s_and_not_the_environment_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "somebody-else")
    monkeypatch.setenv("LOGNAME", "somebody-else")
    assert user_name() == pwd.getpwuid(os.getuid()).pw_name


def test_a_user_without_an_entry_is_called_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_entry(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", no_entry)
    assert default_socket() == f"/tmp/kvasir-{os.getuid()}/local.sock"


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="needs root to become another user")
def test_a_process_of_such_a_user_finds_its_socket() -> None:
    with pytest.raises(KeyError):
        pwd.getpwuid(NAMELESS)
    become = ["setpriv", f"--reuid={NAMELESS}", f"--regid={NAMELESS}", "--clear-groups", "--"]
    code = "from kvasir.places import default_socket; print(default_socket())"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    shown = subprocess.run(
        [*become, sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert shown.stdout.strip() == f"/tmp/kvasir-{NAMELESS}/local.sock", shown.stderr
