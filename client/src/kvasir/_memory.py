"""Raw memory: maps files, gives numpy views of them, and copies bytes while the GIL is released. The regions use it.

The ``mmap`` module would keep a descriptor open for each mapping, hold the GIL while it populates, and unmap by itself
in a forked child, where the addresses (left out of the fork) may be somebody else's by then.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import sys
from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from kvasir.errors import UnsupportedError
from kvasir.mappings import unmapping

_MADV_POPULATE_READ: Final = 22
_MADV_POPULATE_WRITE: Final = 23
_MADV_DONTFORK: Final = 10
_MAP_FIXED: Final = 0x10
_HUGE_PAGE: Final = 2 << 20
_FAILED: Final = ctypes.c_void_p(-1).value
#: Populated with one call: some milliseconds.
_POPULATE_BYTES: Final = 8 << 20

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]
_libc.mmap.restype = ctypes.c_void_p
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

#: ``copy(destination, source, length)`` on plain addresses; releases the GIL.
copy: Final = cast(
    "Callable[[int, int, int], None]",
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)(
        cast("int", ctypes.cast(_libc.memcpy, ctypes.c_void_p).value)
    ),
)


# All of a process's memory (its half of x86-64's address space), page 0 excepted.
_FIRST_PAGE: Final = 4096
_ALL_WORDS: Final[npt.NDArray[np.uint64]] = np.ndarray(
    (((1 << 47) - _FIRST_PAGE) // 8,),
    dtype="<u8",
    buffer=cast("Any", (ctypes.c_char * ((1 << 47) - _FIRST_PAGE)).from_address(_FIRST_PAGE)),
)


def words_at(addresses: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The 64-bit words at these addresses, each read once; they must be mapped, and multiples of 8."""
    index = ((addresses - np.uint64(_FIRST_PAGE)) >> np.uint64(3)).view(np.intp)
    words: npt.NDArray[np.uint64] = _ALL_WORDS.take(index)
    return words


def require_supported_machine() -> None:
    """Refuses where plain loads do not suffice to order the stamps around a copy."""
    if not sys.platform.startswith("linux") or platform.machine() not in ("x86_64", "AMD64"):
        raise UnsupportedError(
            f"this client checks stamps around a copy with plain loads, which needs the memory order of x86-64 Linux; "
            f"this is {platform.machine()} {sys.platform}"
        )


def _os_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


def _map_aligned(descriptor: int, length: int, protection: int) -> int:
    """Maps a whole file where huge pages can begin, so that those of the file are used as such; the address."""
    span = _map(None, length + _HUGE_PAGE, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1)
    address = -(-span // _HUGE_PAGE) * _HUGE_PAGE
    end = address + -(-length // mmap.PAGESIZE) * mmap.PAGESIZE
    try:
        _map(address, length, protection, mmap.MAP_SHARED | _MAP_FIXED, descriptor)
    except OSError:
        _libc.munmap(span, length + _HUGE_PAGE)
        raise
    for begin, rest in ((span, address - span), (end, span + length + _HUGE_PAGE - end)):
        if rest:
            _libc.munmap(begin, rest)
    return address


def _map(address: int | None, length: int, protection: int, flags: int, descriptor: int) -> int:
    found: int | None = _libc.mmap(address, length, protection, flags, descriptor, 0)
    if found is None or found == _FAILED:
        raise _os_error(f"mmap of {length} bytes")
    return found


class Mapping:
    """One shared mapping of a whole file, populated when it is made; not there in a forked child."""

    __slots__ = ("address", "length")

    def __init__(self, descriptor: int, length: int, *, writable: bool) -> None:
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        self.address: int = _map_aligned(descriptor, length, protection)
        self.length: int = length
        try:
            self._advise(_MADV_DONTFORK, "MADV_DONTFORK")
            self._populate(descriptor, protection)
        except OSError:
            self.close()
            raise

    def _populate(self, descriptor: int, protection: int) -> None:
        advice = _MADV_POPULATE_WRITE if protection & mmap.PROT_WRITE else _MADV_POPULATE_READ
        try:
            # In steps: the kernel holds the lock of the process's mappings for the whole call, and the engine's own
            # allocations wait for it.
            for offset in range(0, self.length, _POPULATE_BYTES):
                self._advise(advice, "populating", offset, min(_POPULATE_BYTES, self.length - offset))
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # Before Linux 5.14: populate as it is mapped, in the same place.
            _map(self.address, self.length, protection, mmap.MAP_SHARED | mmap.MAP_POPULATE | _MAP_FIXED, descriptor)
            self._advise(_MADV_DONTFORK, "MADV_DONTFORK")

    def protect(self, *, writable: bool) -> None:
        """Forbids or allows writing; the pages stay mapped, so this costs far less than mapping anew."""
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        if _libc.mprotect(self.address, self.length, protection) != 0:
            raise _os_error("mprotect")

    def _advise(self, advice: int, what: str, offset: int = 0, length: int | None = None) -> None:
        if _libc.madvise(self.address + offset, self.length if length is None else length, advice) != 0:
            raise _os_error(f"{what} of {self.length} bytes")

    def words(self, offset: int, count: int, stride: int) -> npt.NDArray[np.uint64]:
        """View of ``count`` 64-bit words, ``stride`` bytes apart. Must not be used once this is closed."""
        assert offset >= 0
        assert offset + (count - 1) * stride + 8 <= self.length
        words: npt.NDArray[np.uint64] = np.ndarray(
            (count,), dtype="<u8", buffer=self._buffer(), offset=offset, strides=(stride,)
        )
        return words

    def view(self, offset: int, length: int) -> npt.NDArray[np.uint8]:
        """View of bytes. Must not be used once this is closed."""
        assert offset >= 0
        assert offset + length <= self.length
        view: npt.NDArray[np.uint8] = np.ndarray((length,), dtype=np.uint8, buffer=self._buffer(), offset=offset)
        return view

    def _buffer(self) -> Any:
        return (ctypes.c_char * self.length).from_address(self.address)

    def close(self) -> None:
        """Unmaps; views and addresses taken from it are void."""
        if self.address:
            unmapping(self.address, self.length)
            if _libc.munmap(self.address, self.length) != 0:
                raise _os_error("munmap")
            self.address = 0
