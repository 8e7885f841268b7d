"""Starts a real node for tests, with the launcher, on files of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kvasir import Client, KvasirError, UnauthenticatedError

HOME = Path(os.environ.get("KVASIR_HOME", Path(__file__).resolve().parents[2]))
START_SECONDS = 300.0  # the first start builds the node


def until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Polls; fails after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain: {what}"
        time.sleep(0.005)


class Node:
    """One node process, in a process group of its own. DRAM only unless ``settings`` say otherwise."""

    def __init__(self, memory: Path, state: Path, given: Mapping[str, Any] | None = None) -> None:
        self.socket = str(memory / "engine.sock")
        self.log = state / "node.log"
        self._process: subprocess.Popen[bytes] | None = None
        configuration = state / "kvasir.yaml"
        settings: dict[str, Any] = {
            "node": {"name": "client-test"},
            "engine": {"socket": self.socket},
            "dram": {"directory": str(memory / "dram"), "capacity": "512MiB", "region": "32MiB"},
            "ssd": {"directory": str(state / "ssd"), "capacity": 0},
            "http": {"address": "off"},
        }
        for section, values in (given or {}).items():
            settings[section] = {**settings.get(section, {}), **values} if isinstance(values, dict) else values
        configuration.write_text(json.dumps(settings))
        self._command = [str(HOME / "kvasir"), "node", "--config", str(configuration)]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts, and waits until the node answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        until(self._answers, "the node answers", START_SECONDS)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the node ended:\n{self.log.read_text()[-4000:]}"
        try:
            Client.connect(self.socket, deadline=1.0, attach_deadline=1.0).close()
        except UnauthenticatedError:
            return True
        except KvasirError:
            return False
        return True

    def signal(self, number: signal.Signals) -> None:
        os.killpg(self.pid, number)

    def pause(self) -> None:
        """SIGSTOP; returns once every thread has stopped."""
        self.signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.pid}/task")
        # The state follows the command's name, which stands in parentheses.
        until(
            lambda: all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T" for task in tasks.iterdir()),
            "the node's threads stop",
        )

    def kill(self) -> None:
        """``kill -9``."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Asks, then insists."""
        if self._process is not None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(15)
            if self._process.poll() is None:
                self.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
