"""The lock that shows the node that an attachment's process lives."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from kvasir.errors import NodeUnavailableError


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

    def release(self) -> None:
        """Gives the lock up: everything under this attachment must be unmapped by now."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
