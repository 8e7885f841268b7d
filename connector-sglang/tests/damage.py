"""Damages what a node has in its shared memory, once it has summed it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kvasir_sglang.shared.transfer import PoolPlace


def damage(files: list[Path], needle: bytes) -> int:
    """Flips a byte inside each place where ``needle`` stands; how many."""
    damaged = 0
    for path in files:
        content = path.read_bytes()
        at = content.find(needle)
        while at >= 0:
            with path.open("r+b") as file:
                file.seek(at + 5)
                file.write(bytes([needle[5] ^ 0xFF]))
            damaged += 1
            at = content.find(needle, at + 1)
    return damaged


def summed(place: PoolPlace, hashes: Sequence[str]) -> bool:
    """Whether the node has summed all these pages; it does so beside the calls."""
    client = place.connection.client
    keys = b"".join(bytes.fromhex(key) for key in hashes)
    with client.lookup(keys, namespace=place.namespace) as lease:
        slots = lease.slots.reshape(-1)
        pin = client.attachment.mapped.pin(slots)
        try:
            words = [pin.checksum_word(row) for row in range(len(slots))]
        finally:
            client.attachment.mapped.unpin(pin)
    return len(words) == len(hashes) and all(word >> 63 for word in words)
