"""Real nodes of one cluster, of which one does not answer: what the others find of each other's objects meanwhile."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from kvasir import Client

from kvasir_ops import home
from kvasir_ops.lab.nodes import Nodes, NodeSettings
from kvasir_ops.replay.content import Content
from kvasir_ops.replay.probe import connect
from kvasir_ops.testing import until

pytestmark = pytest.mark.integration

MIB = 1 << 20
HOLDER, ASKER, SILENT, OTHER = NAMES = ("holder", "asker", "silent", "other")
CONTENT = Content(4096)
OBJECTS = 60
WAIT_SECONDS = 3.0


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """Nodes that take a silent one for a living one throughout a test."""
    shared_memory = Path(tempfile.mkdtemp(prefix="kvasir-silent-", dir="/dev/shm"))
    settings = NodeSettings(dram_bytes=32 * MIB, ssd_bytes=0, failure_timeout_seconds=60.0)
    try:
        with Nodes(home(), NAMES, settings, shared_memory, tmp_path) as started:
            started.start(*NAMES)
            yield started
    finally:
        shutil.rmtree(shared_memory)


def store(client: Client, keys: list[bytes]) -> None:
    """Stores an object for each key."""
    rows = np.empty((len(keys), CONTENT.object_bytes), dtype=np.uint8)
    for key, row in zip(keys, rows, strict=True):
        CONTENT.write(key, row)
    assert client.store(keys, rows, wait=5.0, deadline=30.0).committed == len(keys)


def loads(client: Client, key: bytes) -> bool:
    """Whether the object comes, with the right bytes."""
    page = np.ones((1, CONTENT.object_bytes), dtype=np.uint8)
    came = client.load_prefix([key], page, wait=WAIT_SECONDS, deadline=2 * WAIT_SECONDS).leading_chunks == 1
    return came and CONTENT.wrong_bytes(key, page[0]) == 0


def known(client: Client, keys: list[bytes]) -> int:
    """How many of the objects the node knows to be here or elsewhere."""
    plan = client.lookup(keys, peek=True, sparse=True).plan
    return sum(planned.chunks for planned in plan if planned.status != "MISS")


def key_of(kind: str, number: int) -> bytes:
    """A key that begins an entry of the directory: nobody says what comes before it."""
    return hashlib.blake2b(f"{kind}/{number}".encode(), digest_size=32).digest()


def test_objects_are_found_although_a_part_of_the_directory_is_silent(nodes: Nodes) -> None:
    clients = {name: connect(nodes.socket(name)) for name in NAMES}
    try:
        for name in (SILENT, OTHER):
            seen = key_of(name, 0)
            store(clients[name], [seen])
            until(partial(loads, clients[ASKER], seen), f"{name} and the asker in one cluster")
        keys = [key_of("object", number) for number in range(OBJECTS + 1)]
        store(clients[HOLDER], keys)
        # Each part of the directory has been told of its own, before one of them is silent.
        until(lambda: known(clients[OTHER], keys) == len(keys), "all objects in the directory")
        until(partial(loads, clients[ASKER], keys[-1]), "the holder and the asker in one cluster")
        nodes.pause(SILENT)
        missed = [number for number in range(OBJECTS) if not loads(clients[ASKER], keys[number])]
        assert missed == []
    finally:
        nodes.resume(SILENT)
        for client in clients.values():
            client.close()
