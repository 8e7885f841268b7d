"""The demo's sizes on large and small machines."""

from __future__ import annotations

import pytest

from kvasir_ops.demo.sizes import GIB, KIB, MIB, TooSmallError, fit

CHUNKS = 21_514
NODES = 4


def test_large_machine_gets_the_largest_objects() -> None:
    assert fit(CHUNKS, NODES, free_memory=64 * GIB, free_disk=500 * GIB).object_bytes == 64 * KIB


def test_everything_fits_on_the_ssds_and_not_in_dram() -> None:
    for disk in (500 * GIB, 5 * GIB, 3 * GIB):
        sizes = fit(CHUNKS, NODES, free_memory=8 * GIB, free_disk=disk)
        stored = CHUNKS * sizes.object_bytes
        assert NODES * sizes.dram_bytes < stored < NODES * sizes.ssd_bytes < disk


def test_nodes_take_at_most_half_of_the_free_memory() -> None:
    for memory in (1 * GIB, 2 * GIB, 64 * GIB):
        assert 2 * NODES * fit(CHUNKS, NODES, free_memory=memory, free_disk=500 * GIB).dram_bytes <= memory


def test_too_little_is_refused_with_the_numbers() -> None:
    with pytest.raises(TooSmallError, match="needs 512 MiB of free shared memory; 100 MiB are free"):
        fit(CHUNKS, NODES, free_memory=100 * MIB, free_disk=500 * GIB)
    with pytest.raises(TooSmallError, match="1024 MiB are free"):
        fit(CHUNKS, NODES, free_memory=8 * GIB, free_disk=1 * GIB)
