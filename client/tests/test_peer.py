"""A client talks to a server that only the operator could have put there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvasir import Client, KvasirError, NotPermittedError
from kvasir._peer import SERVER_UID, check_server

OTHER_UID = 65534
Listen = Callable[..., Path]
pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root, to listen as another user")


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Starts servers of a user, in a directory of that user below one that is whose."""
    started: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="kvasir-peer-", dir="/run") as top:
        Path(top).chmod(0o755)

        def start(user: int, mode: int = 0o755) -> Path:
            above = Path(top) / "above"
            directory = above / "node"
            directory.mkdir(parents=True)
            os.chown(directory, user, user)
            above.chmod(mode)
            path = directory / "engine.sock"
            code = f"""
import os, socket, sys
os.setgid({user}); os.setuid({user})
server = socket.socket(socket.AF_UNIX); server.bind({str(path)!r}); server.listen()
os.chmod({str(path)!r}, 0o666)
print("listens", flush=True)
sys.stdin.read()
"""
            process = subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/"
            )
            started.append(process)
            assert process.stdout is not None
            assert process.stdout.readline() == b"listens\n"
            return path

        yield start
        for process in started:
            process.kill()
            process.communicate()


def check(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(os.fspath(path))
        check_server(sock, os.fspath(path))


def test_the_owner_of_a_directory_that_only_root_can_have_given_it_is_the_node(listen: Listen) -> None:
    check(listen(OTHER_UID))


def test_anybody_in_a_directory_that_anybody_could_make_is_not(listen: Listen) -> None:
    path = listen(OTHER_UID, 0o1777)
    with pytest.raises(NotPermittedError, match=f"runs as uid {OTHER_UID}.*{SERVER_UID}={OTHER_UID}"):
        check(path)
    with pytest.raises(KvasirError, match=f"uid {OTHER_UID}"):
        Client.connect(os.fspath(path), attach_deadline=10.0)


def test_root_is_the_node_wherever_it_listens(listen: Listen) -> None:
    check(listen(0, 0o1777))


def test_the_operator_names_the_node_s_user(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    path = listen(OTHER_UID, 0o1777)
    monkeypatch.setenv(SERVER_UID, f"7, {OTHER_UID}")
    check(path)
    monkeypatch.setenv(SERVER_UID, "any")
    check(path)
    monkeypatch.setenv(SERVER_UID, "7")
    with pytest.raises(NotPermittedError, match=f"{SERVER_UID} is 7"):
        check(path)
