"""A node in a process of its own, as the demo, the tests and the benchmarks start, kill and stop it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

STOP_SECONDS = 15.0


class NodeFailedError(Exception):
    """The node ended by itself; the message has the end of its log."""


@dataclass(frozen=True)
class NodePlaces:
    """Where one node keeps its files: a directory of shared memory and one on disk."""

    shared_memory: Path
    state: Path

    @property
    def socket(self) -> Path:
        """The engine API's Unix domain socket."""
        return self.shared_memory / "engine.sock"

    @property
    def log(self) -> Path:
        """The output of every start, one after the other."""
        return self.state / "node.log"

    @property
    def configuration(self) -> Path:
        """The node's configuration file."""
        return self.state / "kvasir.yaml"


@contextmanager
def temporary_places(shared_memory: Path, state: Path, prefix: str) -> Iterator[NodePlaces]:
    """Empty directories, in shared memory and on disk, named from ``prefix`` on; gone afterwards, whatever happens."""
    with ExitStack() as stack:
        made = []
        for parent in (shared_memory, state):
            parent.mkdir(parents=True, exist_ok=True)
            made.append(Path(tempfile.mkdtemp(prefix=prefix, dir=parent)))
            stack.callback(shutil.rmtree, made[-1], ignore_errors=True)
        yield NodePlaces(*made)


def configuration(
    places: NodePlaces, dram_bytes: int, ssd_bytes: int, http_address: str = "off"
) -> dict[str, dict[str, Any]]:
    """What a node in these places is told; everything else is its default. A caller may change it further."""
    return {
        "node": {"name": places.state.name},
        "engine": {"socket": os.fspath(places.socket)},
        "dram": {"directory": os.fspath(places.shared_memory / "dram"), "capacity": f"{dram_bytes}B"},
        "ssd": {"directory": os.fspath(places.state / "ssd"), "capacity": f"{ssd_bytes}B"},
        "http": {"address": http_address},
    }


class NodeProcess:
    """One node: started, killed and started again on the same files. Owned by one thread.

    The node dies with the thread that started it, so a killed demo or benchmark leaves no node behind.
    """

    def __init__(
        self,
        home: Path,
        places: NodePlaces,
        settings: Mapping[str, Any],
        within: Sequence[str] = (),
        jvm_options: str = "",
    ) -> None:
        """Writes the configuration; starts nothing.

        Args:
            home: the repository, with the launcher.
            places: directories that exist.
            settings: what the node is told.
            within: the beginning of a command line that runs the rest of it somewhere, and becomes it (``exec``).
            jvm_options: of this node's JVM, on top of every node's.
        """
        self.places = places
        self.started_at = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = dict(os.environ)
        if jvm_options:
            given = os.environ.get("JDK_JAVA_OPTIONS", "")
            self._environment["JDK_JAVA_OPTIONS"] = f"{given} {jvm_options}".strip()
        # JSON is YAML.
        places.configuration.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        tied = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        self._command = [
            *tied,
            *within,
            os.fspath(home / "kvasir"),
            "node",
            "--config",
            os.fspath(places.configuration),
        ]

    @property
    def is_running(self) -> bool:
        """True from a start to a kill or stop."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """Process id of the running node."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts the process; returns at once."""
        assert self._process is None
        with self.places.log.open("ab") as log:
            self.started_at = time.monotonic()
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self._environment,
            )

    def check(self) -> None:
        """Raises when the process has ended by itself.

        Raises:
            NodeFailedError: with the end of the node's log.
        """
        if self._process is not None and self._process.poll() is not None:
            tail = "\n".join(self.places.log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:])
            raise NodeFailedError(f"the node ended with status {self._process.returncode}; the end of its log:\n{tail}")

    def kill(self) -> float:
        """``kill -9``; returns when it was sent, by ``time.monotonic``."""
        assert self._process is not None
        killed_at = time.monotonic()
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._process = None
        return killed_at

    def pause(self) -> None:
        """SIGSTOP: alive, and silent."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def stop(self) -> int | None:
        """SIGTERM, and SIGKILL when that takes too long. The exit status; None when there was no process."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            self._signal(signal.SIGCONT)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
        status = self._process.wait()
        self._process = None
        return status

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            # It ended on its own between two looks; wait() tells how.
            return

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
