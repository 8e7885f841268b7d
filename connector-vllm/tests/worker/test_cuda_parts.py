"""What the GPU copier does on the host: which mappings are registered, and when not any more.

The copies themselves are checked by ``gpu_copy.py`` on a machine with a GPU.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.engine

SIZE = 1 << 20


class Runtime:
    """Stands for CUDA's runtime, and notes what it is told."""

    def __init__(self) -> None:
        self.registered: dict[int, tuple[int, bool]] = {}

    def register(self, address: int, length: int, *, read_only: bool) -> None:
        assert address not in self.registered
        self.registered[address] = (length, read_only)

    def unregister(self, address: int) -> None:
        del self.registered[address]


@pytest.fixture
def mapping(tmp_path: Path) -> Any:
    from kvasir._memory import Mapping

    file = tmp_path / "region"
    file.write_bytes(bytes(SIZE))
    descriptor = os.open(file, os.O_RDWR)
    made = Mapping(descriptor, SIZE, writable=True)
    made.protect(writable=False)
    os.close(descriptor)
    yield made
    made.close()


def registry() -> tuple[Any, Runtime]:
    from kvasir.cuda import _Registry

    runtime = Runtime()
    return _Registry(runtime), runtime  # type: ignore[arg-type]


def addresses(mapping: Any, *offsets: int) -> Any:
    return np.array([mapping.address + offset for offset in offsets], dtype=np.uint64)


def test_mapping_is_registered_once_and_read_only(mapping: Any) -> None:
    known, runtime = registry()
    for _ in range(3):
        known.unpin(known.pin(addresses(mapping, 0, 4096, SIZE - 1), write=False))
    assert runtime.registered == {mapping.address: (SIZE, True)}
    known.close()
    assert runtime.registered == {}


def test_mapping_that_became_writable_is_registered_again_for_a_store(mapping: Any) -> None:
    known, runtime = registry()
    known.unpin(known.pin(addresses(mapping, 0), write=False))
    mapping.protect(writable=True)
    known.unpin(known.pin(addresses(mapping, 0), write=True))
    assert runtime.registered == {mapping.address: (SIZE, False)}
    known.close()


def test_registration_ends_before_its_memory_does(mapping: Any) -> None:
    known, runtime = registry()
    known.unpin(known.pin(addresses(mapping, 0), write=False))
    mapping.close()
    assert runtime.registered == {}
    known.close()


def test_slices_cover_every_piece_once() -> None:
    from kvasir.cuda import _SLICE_BYTES, _slices

    for length in ([1], [_SLICE_BYTES] * 3, [_SLICE_BYTES * 5, 1, 1], [1 << 20] * 200):
        cuts = _slices(np.array(length, dtype=np.uint64))
        assert cuts[0][0] == 0
        assert cuts[-1][1] == len(length)
        assert all(before[1] == after[0] for before, after in pairwise(cuts))
        assert all(first < end for first, end in cuts)
