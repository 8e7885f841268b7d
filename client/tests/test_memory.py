from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from kvasir_ops.testing import until

from kvasir import _memory

SIZE = 64 << 20


@pytest.fixture
def ticks() -> Iterator[list[int]]:
    """Counted up by a thread that runs only while another gives the GIL up by itself."""
    counted = [0]
    stop = threading.Event()

    def count() -> None:
        while not stop.is_set():
            counted[0] += 1
            time.sleep(0)  # gives the GIL up

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)
    counter = threading.Thread(target=count)
    counter.start()
    try:
        yield counted
    finally:
        stop.set()
        counter.join(10)
        sys.setswitchinterval(interval)


def advance(ticks: list[int], move: Callable[[int, int, int], object]) -> int:
    """Ticks of the other thread during one copy of 64 MiB."""
    source, target = np.ones(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    begin, end = source.ctypes.data, target.ctypes.data
    before = ticks[0]
    move(end, begin, SIZE)
    after = ticks[0]
    assert target[-1] == 1
    return after - before


def test_a_copy_lets_other_threads_run(ticks: list[int]) -> None:
    until(lambda: advance(ticks, _memory.copy) > 0, "another thread runs during a copy")


def test_a_copy_that_held_the_gil_would_be_seen(ticks: list[int]) -> None:
    prototype = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    address = ctypes.cast(ctypes.CDLL(None).memcpy, ctypes.c_void_p).value
    assert address is not None
    assert [advance(ticks, prototype(address)) for _ in range(3)] == [0, 0, 0]


def test_a_protected_mapping_is_readable_and_becomes_writable_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(8192))
    with path.open("r+b") as file:
        mapping = _memory.Mapping(file.fileno(), 8192, writable=True)
    mapping.view(0, 1)[0] = 7
    mapping.protect(writable=False)
    assert mapping.view(0, 1)[0] == 7
    mapping.protect(writable=True)
    mapping.view(8191, 1)[0] = 9
    mapping.close()
    assert path.read_bytes()[0] == 7
    assert path.read_bytes()[-1] == 9
