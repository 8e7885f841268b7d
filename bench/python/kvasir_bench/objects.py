"""Keys and bytes of the objects that benchmarks store; both follow from a number, so every loaded byte is checked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from kvasir import Client, Lease
from kvasir.regions import RegionPin
from kvasir_ops.replay.content import Content

Bytes = npt.NDArray[np.uint8]
#: Of the memory that torch gives out on the CPU.
ALIGNMENT = 64


def key_of(kind: str, index: int) -> bytes:
    """The 32-byte key of an object."""
    return hashlib.blake2b(f"{kind}/{index}".encode(), digest_size=32).digest()


def buffer(objects: int, object_bytes: int) -> Bytes:
    """Memory for objects, one row each, touched; aligned as torch aligns an engine's.

    numpy begins large arrays 16 bytes into a page, and copies between such an address and a page's begin take about a
    fifth longer.
    """
    memory = np.ones(objects * object_bytes + ALIGNMENT, dtype=np.uint8)
    begin = -memory.ctypes.data % ALIGNMENT
    return memory[begin : begin + objects * object_bytes].reshape(objects, object_bytes)


def store_all(client: Client, keys: Sequence[bytes], content: Content, batch: int = 64) -> None:
    """Stores an object for each key; RuntimeError when the node does not take one."""
    rows = buffer(min(batch, len(keys)), content.object_bytes)
    for first in range(0, len(keys), batch):
        part = keys[first : first + batch]
        for row, key in zip(rows, part, strict=False):
            content.write(key, row)
        done = client.store(part, rows[: len(part)], wait=5.0, deadline=30.0)
        if done.committed != len(part):
            raise RuntimeError(f"the node stored {done.committed} of {len(part)} objects: statuses {done.statuses}")


def wrong_bytes(keys: Sequence[bytes], rows: Bytes, content: Content) -> int:
    """Bytes of ``rows`` that are not those of the objects of ``keys``."""
    return sum(content.wrong_bytes(key, row) for key, row in zip(keys, rows, strict=True))


def addresses(client: Client, lease: Lease) -> tuple[list[int], RegionPin]:
    """Where a lease's objects lie in this process's own mapping, and the pin that ``unpin`` ends."""
    slots = lease.slots.reshape(-1)
    pin = client.attachment.mapped.pin(slots)
    return pin.address.tolist(), pin
