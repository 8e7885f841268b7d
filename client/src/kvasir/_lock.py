"""The lock that shows the node that an attachment's process lives, and which copies that process runs."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path
from typing import Final

from kvasir._memory import Mapping
from kvasir.errors import NodeUnavailableError

_MAGIC: Final = b"KVASIRL1"
_LAYOUT_VERSION: Final = 1
_FILE_BYTES: Final = 128
_MARKS_OFFSET: Final = 64


class CopyMarks:
    """Says in the lock file which copies under leases run, so that a lease whose time is over can end.

    Copies have numbers from 1. ``next`` is that of the next one, and stored before that one looks at its lease's time;
    no copy below ``oldest`` runs. Each is one aligned store of 8 bytes. Thread-safe.
    """

    def __init__(self, descriptor: int) -> None:
        self._lock = threading.Lock()
        self._mapping: Mapping | None = None
        self._running: dict[int, None] = {}
        self._next = 1
        head = os.pread(descriptor, 12, 0)
        if head[:8] != _MAGIC or int.from_bytes(head[8:], "little") != _LAYOUT_VERSION:
            # A node that does not ask: its leases last as long as this process.
            return
        if os.fstat(descriptor).st_size < _FILE_BYTES:
            return
        self._mapping = Mapping(descriptor, _FILE_BYTES, writable=True)
        self._words = self._mapping.words(_MARKS_OFFSET, 2, 8)
        self._words[1] = 1
        self._words[0] = 1

    def begin(self) -> int:
        """A copy is about to look at its lease's time; returns its number."""
        with self._lock:
            number = self._next
            self._next = number + 1
            self._running[number] = None
            if self._mapping is not None:
                self._words[0] = self._next
        return number

    def end(self, number: int) -> None:
        """Nothing of the copy with this number runs any more."""
        with self._lock:
            del self._running[number]
            if self._mapping is not None:
                self._words[1] = next(iter(self._running), self._next)

    def close(self) -> None:
        """Says nothing any more; no copy runs."""
        with self._lock:
            if self._mapping is not None:
                self._mapping.close()
                self._mapping = None


class AttachmentLock:
    """An exclusive POSIX record lock over one file, opened once: closing any descriptor of that file loses the lock.

    A forked child does not inherit it, and it ends with the process whatever happens to the socket.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError as error:
            # The node told this path a moment ago, over its socket: it runs, and this process sees another file system.
            raise NodeUnavailableError(
                f"the node answers, but its shared memory is not here: {path} does not exist in this process's file "
                "system. Containers must share the file system of the node's dram.directory, usually /dev/shm: mount "
                "one volume there in both (docker: --ipc=host, or --ipc=container:NODE; Kubernetes: an emptyDir of "
                "medium Memory)"
            ) from error
        except OSError as error:
            raise NodeUnavailableError(
                f"the attachment's lock file {path} cannot be opened: {error.strerror}"
            ) from error
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise NodeUnavailableError(f"the attachment's lock file {path} is locked by another process") from error
        try:
            self.copies: Final = CopyMarks(self._descriptor)
        except OSError as error:
            os.close(self._descriptor)
            raise NodeUnavailableError(f"the attachment's lock file {path} cannot be mapped: {error}") from error

    def release(self) -> None:
        """Gives the lock up: everything under this attachment must be unmapped by now."""
        if self._descriptor >= 0:
            self.copies.close()
            os.close(self._descriptor)
            self._descriptor = -1
