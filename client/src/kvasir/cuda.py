"""Copies between GPU pages and the node's memory, on streams of their own.

The node's regions are registered with CUDA as they are mapped (read-only where the process may only read), so that the
GPU copies straight between them and its pages. The engine's own streams are never waited for by the host: a copy waits,
on its stream, for an event that the engine's stream recorded.
"""

from __future__ import annotations

import bisect
import ctypes
import threading
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from kvasir.deadline import Deadline
from kvasir.errors import UnsupportedError
from kvasir.mappings import watch_unmapping

_U64 = npt.NDArray[np.uint64]
#: Bytes of one submission; between two of them the deadline is looked at.
_SLICE_BYTES = 64 << 20
#: Submissions on a stream at the same time: one runs while the next is made ready.
_AHEAD = 2

_HOST_REGISTER_DEFAULT = 0
_HOST_REGISTER_READ_ONLY = 8
_COPY_KIND_DEFAULT = 4


class _Attributes(ctypes.Structure):
    """``CUmemcpyAttributes``: sources may be read in the order of the stream."""

    _fields_ = (
        ("source_access_order", ctypes.c_int),
        ("source_type", ctypes.c_int),
        ("source_id", ctypes.c_int),
        ("target_type", ctypes.c_int),
        ("target_id", ctypes.c_int),
        ("flags", ctypes.c_uint),
    )


class _Runtime:
    """The few calls that torch does not offer, by ctypes."""

    def __init__(self) -> None:
        self._cudart: Any = torch.cuda.cudart()
        self._copy_one = self._library_function("cudaMemcpyAsync")
        self._driver = ctypes.CDLL("libcuda.so.1")
        self._batch, self._batch_names_failures = self._find_batch()

    @staticmethod
    def _library_function(name: str) -> Any:
        # torch has loaded the runtime already; its symbols are found by the name that it was loaded under.
        for library in _loaded_runtimes():
            function = getattr(ctypes.CDLL(library), name, None)
            if function is not None:
                function.restype = ctypes.c_int
                function.argtypes = (
                    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p,
                )  # fmt: skip
                return function
        raise UnsupportedError("the CUDA runtime that torch uses was not found in this process")

    def _find_batch(self) -> tuple[Any, bool]:
        """``cuMemcpyBatchAsync`` (CUDA 12.8 and later), and whether it wants a place for the failed index."""
        for name, failures in (("cuMemcpyBatchAsync_v2", False), ("cuMemcpyBatchAsync", True)):
            function = getattr(self._driver, name, None)
            if function is not None:
                function.restype = ctypes.c_int
                return function, failures
        return None, False

    def register(self, address: int, length: int, *, read_only: bool) -> None:
        """Pins a mapping for copies by the GPU."""
        flags = _HOST_REGISTER_READ_ONLY if read_only else _HOST_REGISTER_DEFAULT
        error = self._cudart.cudaHostRegister(address, length, flags)
        if int(error) != 0:
            raise RuntimeError(f"cudaHostRegister of {length} bytes failed with {error}")

    def unregister(self, address: int) -> None:
        """Undoes :meth:`register`."""
        self._cudart.cudaHostUnregister(address)

    def on_gpu(self, address: int) -> bool:
        """Whether an address is device memory."""
        kind = ctypes.c_uint(0)
        # CU_POINTER_ATTRIBUTE_MEMORY_TYPE; memory that CUDA does not know at all is the host's.
        error = self._driver.cuPointerGetAttribute(ctypes.byref(kind), 2, ctypes.c_uint64(address))
        return error == 0 and kind.value == 2

    def copy(self, source: _U64, target: _U64, length: _U64, stream: int) -> None:
        """Submits copies to a stream."""
        if self._batch is not None and stream and len(source) > 1:
            self._copy_batch(source, target, length, stream)
            return
        for begin, end, count in zip(source.tolist(), target.tolist(), length.tolist(), strict=True):
            error = self._copy_one(end, begin, count, _COPY_KIND_DEFAULT, stream)
            if error != 0:
                raise RuntimeError(f"cudaMemcpyAsync of {count} bytes failed with error {error}")

    def _copy_batch(self, source: _U64, target: _U64, length: _U64, stream: int) -> None:
        arrays = [np.ascontiguousarray(array, dtype=np.uint64) for array in (target, source, length)]
        attributes = _Attributes(source_access_order=1)
        first = ctypes.c_size_t(0)
        failed = ctypes.c_size_t(0)
        arguments: list[Any] = [
            *(ctypes.c_void_p(array.ctypes.data) for array in arrays),
            ctypes.c_size_t(len(source)), ctypes.byref(attributes), ctypes.byref(first), ctypes.c_size_t(1),
        ]  # fmt: skip
        if self._batch_names_failures:
            arguments.append(ctypes.byref(failed))
        error = self._batch(*arguments, ctypes.c_void_p(stream))
        if error != 0:
            raise RuntimeError(f"cuMemcpyBatchAsync of {len(source)} copies failed with error {error}")


def _loaded_runtimes() -> list[str]:
    """Paths of the CUDA runtimes that this process has loaded."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        paths = {line.split()[-1] for line in maps if "libcudart" in line}
    return sorted(paths)


class _Extent:
    """One mapping of the node's memory that is registered with CUDA."""

    def __init__(self, begin: int, end: int, writable: bool) -> None:
        self.begin, self.end, self.writable = begin, end, writable
        self.users = 0


class _Registry:
    """Which mappings are registered. A mapping is registered once, and again when it has become writable."""

    def __init__(self, runtime: _Runtime) -> None:
        self._runtime = runtime
        self._changed = threading.Condition()
        self._extents: list[_Extent] = []
        self._stop = watch_unmapping(self._unmapping)

    def pin(self, addresses: _U64, *, write: bool) -> list[_Extent]:
        """Registers what holds these addresses, which stays so until :meth:`unpin`."""
        rest = np.unique(addresses)
        pinned: list[_Extent] = []
        with self._changed:
            try:
                while len(rest):
                    extent = self._covering(int(rest[0]), write)
                    extent.users += 1
                    pinned.append(extent)
                    rest = rest[rest >= extent.end]
            except BaseException:
                self._release(pinned)
                raise
        return pinned

    def unpin(self, pinned: list[_Extent]) -> None:
        """Ends :meth:`pin`."""
        with self._changed:
            self._release(pinned)

    def _release(self, pinned: list[_Extent]) -> None:
        for extent in pinned:
            extent.users -= 1
        self._changed.notify_all()

    def _covering(self, address: int, write: bool) -> _Extent:
        index = bisect.bisect_right([extent.begin for extent in self._extents], address) - 1
        known = self._extents[index] if index >= 0 else None
        if known is not None and address < known.end:
            if known.writable or not write:
                return known
            self._changed.wait_for(lambda: known.users == 0)
            if known in self._extents:
                self._forget(known)
        begin, end, writable = _mapping_of(address)
        self._runtime.register(begin, end - begin, read_only=not writable)
        extent = _Extent(begin, end, writable)
        bisect.insort(self._extents, extent, key=lambda item: item.begin)
        return extent

    def _forget(self, extent: _Extent) -> None:
        self._extents.remove(extent)
        self._runtime.unregister(extent.begin)

    def _unmapping(self, address: int, length: int) -> None:
        """Before memory is unmapped; nothing copies there any more. A stale registration would be another's bytes."""
        with self._changed:
            for extent in [e for e in self._extents if e.begin < address + length and address < e.end]:
                self._forget(extent)

    def close(self) -> None:
        """Unregisters everything."""
        self._stop()
        with self._changed:
            for extent in list(self._extents):
                self._forget(extent)


def _mapping_of(address: int) -> tuple[int, int, bool]:
    """Begin, end and whether it is writable, of this process's mapping at an address."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        for line in maps:
            extent, rights = line.split(maxsplit=2)[:2]
            begin, end = (int(side, 16) for side in extent.split("-"))
            if begin <= address < end:
                return begin, end, rights[1] == "w"
    raise RuntimeError(f"nothing is mapped at {address:#x}")


class CudaCopier:
    """Moves bytes for loads and stores of one worker; every thread that copies has a stream of its own.

    Args:
        device: index of the GPU.
    """

    def __init__(self, device: int) -> None:
        self._device = torch.device("cuda", device)
        self._runtime = _Runtime()
        self._registry = _Registry(self._runtime)
        self._own = threading.local()

    def mark(self) -> Any:
        """A point in the engine's current stream; called in the engine's thread, returns at once."""
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self._device))
        return event

    def after(self, event: Any) -> None:
        """This thread's next copies begin after the point that :meth:`mark` made."""
        self._stream().wait_event(event)

    def _stream(self) -> Any:
        stream = getattr(self._own, "stream", None)
        if stream is None:
            stream = self._own.stream = torch.cuda.Stream(self._device)
        return stream

    def run(
        self, source: _U64, target: _U64, length: _U64, deadline: Deadline, stopped: Callable[[], bool]
    ) -> npt.NDArray[np.bool_]:
        """Which pieces were copied in full. When this returns, nothing copies any more.

        Args:
            source, target: addresses; of each pair one is in the node's memory, and the other on the GPU.
            length: bytes.
            deadline: nothing is submitted after it.
            stopped: nothing is submitted any more once it says True.
        """
        complete = np.zeros(len(length), dtype=bool)
        if not len(length):
            return complete
        with torch.cuda.device(self._device):
            write = self._runtime.on_gpu(int(source[0]))
            pinned = self._registry.pin(target if write else source, write=write)
            stream = self._stream()
            flying: deque[tuple[int, int, Any]] = deque()
            try:
                for first, end in _slices(length):
                    if deadline.remaining() <= 0 or stopped():
                        break
                    self._runtime.copy(source[first:end], target[first:end], length[first:end], stream.cuda_stream)
                    done = torch.cuda.Event(blocking=True)
                    done.record(stream)
                    flying.append((first, end, done))
                    if len(flying) >= _AHEAD:
                        self._land(flying.popleft(), complete)
                while flying:
                    self._land(flying.popleft(), complete)
            finally:
                # Also after an error: nothing of this thread may copy any more.
                stream.synchronize()
                self._registry.unpin(pinned)
        return complete

    @staticmethod
    def _land(flight: tuple[int, int, Any], complete: npt.NDArray[np.bool_]) -> None:
        first, end, done = flight
        done.synchronize()
        complete[first:end] = True

    def close(self) -> None:
        """Unregisters the node's memory."""
        self._registry.close()


def _slices(length: _U64) -> list[tuple[int, int]]:
    """Ranges of pieces of about :data:`_SLICE_BYTES` each."""
    ends = np.cumsum(length)
    cuts = np.searchsorted(ends, np.arange(_SLICE_BYTES, int(ends[-1]) + _SLICE_BYTES, _SLICE_BYTES), side="left") + 1
    edges = sorted({0, *np.minimum(cuts, len(length)).tolist(), len(length)})
    return list(pairwise(edges))
