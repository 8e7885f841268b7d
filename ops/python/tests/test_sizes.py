"""The demo's sizes on large and small machines."""

from __future__ import annotations

import pytest

from kvasir_ops.demo.sizes import GIB, KIB, MIB, TooSmallError, fit

CHUNKS = 21_514


def test_large_machine_gets_the_largest_objects_and_a_gibibyte_of_dram() -> None:
    sizes = fit(CHUNKS, free_memory=64 * GIB, free_disk=500 * GIB)
    assert (sizes.object_bytes, sizes.dram_bytes) == (256 * KIB, 1 * GIB)


def test_everything_fits_on_ssd_and_not_in_dram() -> None:
    for disk in (500 * GIB, 7 * GIB, 4 * GIB):
        sizes = fit(CHUNKS, free_memory=8 * GIB, free_disk=disk)
        stored = CHUNKS * sizes.object_bytes
        assert sizes.dram_bytes < stored < sizes.ssd_bytes < disk


def test_little_memory_gives_less_dram() -> None:
    assert fit(CHUNKS, free_memory=2 * GIB, free_disk=500 * GIB).dram_bytes == 512 * MIB


def test_too_little_is_refused_with_the_numbers() -> None:
    with pytest.raises(TooSmallError, match="100 MiB are free"):
        fit(CHUNKS, free_memory=100 * MIB, free_disk=500 * GIB)
    with pytest.raises(TooSmallError, match="1024 MiB are free"):
        fit(CHUNKS, free_memory=8 * GIB, free_disk=1 * GIB)
