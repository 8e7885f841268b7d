"""A network namespace without a name: it lives as long as this process holds it, and whatever runs inside.

Nothing has to be swept up after ``kill -9``: the kernel takes the namespace, its devices and its rules away with the
last descriptor and process.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

_CLONE_NEWNET = 0x40000000
_THREAD_NAMESPACE = "/proc/thread-self/ns/net"
_COMMAND_BOUND_SECONDS = 20.0

_Result = TypeVar("_Result")


class NetworkError(Exception):
    """The test network could not be made or changed; the message has the command's own words."""


class NetworkNamespace:
    """One network stack of its own. Closed by its owner; processes inside keep it until they end."""

    def __init__(self) -> None:
        """Makes an empty namespace.

        Raises:
            NetworkError: this process may not.
        """
        self._descriptor = _in_thread(_make)

    @property
    def path(self) -> str:
        """A path that names the namespace for other processes while this one lives."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    def command(self, command: Sequence[str]) -> list[str]:
        """The command line that runs ``command`` inside; the process keeps its id."""
        return ["nsenter", f"--net={self.path}", "--", *command]

    def within(self, call: Callable[[], _Result]) -> _Result:
        """The result of ``call``, made by a thread inside. Sockets that it opens stay inside."""

        def enter() -> _Result:
            _check(ctypes.CDLL(None, use_errno=True).setns(self._descriptor, _CLONE_NEWNET), "setns")
            return call()

        return _in_thread(enter)

    def socket(self, kind: socket.SocketKind) -> socket.socket:
        """An IPv4 socket that speaks from inside."""
        return self.within(lambda: socket.socket(socket.AF_INET, kind))

    def run(self, command: Sequence[str], text: str = "") -> str:
        """Runs a short command inside with ``text`` as its input; what it printed.

        Raises:
            NetworkError: it failed; the message has what it said.
        """

        def start() -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                command, input=text, capture_output=True, text=True, timeout=_COMMAND_BOUND_SECONDS, check=False
            )

        done = self.within(start)
        if done.returncode:
            raise NetworkError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}; its input was:\n{text}")
        return done.stdout

    def configure(self, key: str, value: int) -> None:
        """Sets a value below ``/proc/sys/net`` of this namespace."""
        self.within(lambda: Path("/proc/sys/net", key).write_text(f"{value}\n", encoding="ascii"))

    def close(self) -> None:
        """Lets the namespace go. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> NetworkNamespace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _make() -> int:
    _check(ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET), "unshare(CLONE_NEWNET)")
    return os.open(_THREAD_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)


def _check(status: int, call: str) -> None:
    if status:
        raise NetworkError(f"{call}: {os.strerror(ctypes.get_errno())}")


def _in_thread(call: Callable[[], _Result]) -> _Result:
    """Runs a call on a thread of its own: a thread that changed its namespace is never used for anything else."""
    results: list[_Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # handed to the caller
            errors.append(error)

    thread = threading.Thread(target=run, name="namespace", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
