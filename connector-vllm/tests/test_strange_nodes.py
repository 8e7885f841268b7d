"""What answers on the node's socket is not what the engine was made for: it computes, says why, and works again."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import prompts
from engine_process import Engine, transfer
from kvasir_ops.testing import MIB, Node
from test_faults import right, works_again

pytestmark = [pytest.mark.engine, pytest.mark.integration, pytest.mark.one_version]

Plain = Callable[..., list[list[int]]]


def test_node_that_serves_another_user(hasty_engine: Engine, node: Node, plain: Plain) -> None:
    asked = prompts(1, seed=400)
    right(hasty_engine, plain, asked)
    hasty_engine.forget()
    node.stop()
    node.configure(tenants=[{"name": "others", "user": "nobody"}])
    node.start()
    said = hasty_engine.log.count("no node to work with")
    assert right(hasty_engine, plain, asked) == [0]
    assert right(hasty_engine, plain, prompts(1, seed=401)) == [0]
    assert hasty_engine.log.count("no node to work with") <= said + 1
    node.stop()
    node.configure()
    node.start()
    works_again(hasty_engine)


def test_arena_of_another_layout(hasty_engine: Engine, node: Node, plain: Plain) -> None:
    asked = prompts(1, seed=410)
    right(hasty_engine, plain, asked)
    hasty_engine.forget()
    node.stop()
    tables = list((node.places.shared_memory / "dram").glob("tenants/*/*.head"))
    assert tables
    for table in tables:
        with table.open("r+b") as opened:
            opened.write(b"KVASIRH9")
    node.start()
    right(hasty_engine, plain, asked)
    works_again(hasty_engine)


@contextmanager
def impostor(path: str, answer: bytes) -> Iterator[None]:
    """Takes every connection, and answers each piece that comes with the same bytes; empty: with silence."""
    Path(path).unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    taken: list[socket.socket] = []

    def talk(connection: socket.socket) -> None:
        try:
            while connection.recv(65536):
                if answer:
                    connection.sendall(answer)
        except OSError:
            return

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            taken.append(connection)
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for connection in taken:
            connection.close()
        Path(path).unlink(missing_ok=True)


# Fields that no version has, inside a frame of the right form; and no frame at all.
@pytest.mark.parametrize(
    "answer",
    [b"\x06\x00\x00\x00\xfa\x7f\x03abc", random.Random(4).randbytes(200), b""],
    ids=["another version", "nonsense", "silence"],
)
def test_something_else_answers(hasty_engine: Engine, node: Node, plain: Plain, answer: bytes) -> None:
    asked = prompts(1, seed=420 + len(answer))
    right(hasty_engine, plain, asked)
    hasty_engine.forget()
    node.stop()
    with impostor(node.socket, answer):
        for _ in range(2):
            right(hasty_engine, plain, asked)
            hasty_engine.forget()
    node.start()
    works_again(hasty_engine)
    assert set(hasty_engine.ask("held").values()) == {0}


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[None]:
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_disk_that_is_full(model: Path, plain: Plain, tmp_path: Path) -> None:
    # DRAM holds 64 chunks and the disk a part of what the SSD tier was promised: 36 prompts have 108.
    small = Node(dram=32 * MIB, ssd=512 * MIB, region=4 * MIB)
    with (
        small_disk(small.ssd, 48 * MIB),
        small,
        Engine(model, tmp_path / "engine.log", transfer(small.socket)) as engine,
    ):
        asked = prompts(1, seed=430)
        right(engine, plain, asked)
        for batch in range(6):
            engine.generate(prompts(6, seed=431 + batch), 1)
            engine.ask("drain")
        engine.forget()
        right(engine, plain, asked)
        works_again(engine)
        assert set(engine.ask("held").values()) == {0}
