"""The suite's end of the line protocol: a driver's process, asked one job at a time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_BOUND_S = 300
JOB_BOUND_S = 300
DRIVERS = Path(__file__).with_name("drivers")
# The drivers import their protocol from this package; its parts on the way hold nothing but docstrings.
IMPORTS = Path(__file__).parents[2]


@dataclass(frozen=True)
class Answer:
    """What a driver measured: the seconds of each call, objects with wrong bytes, and what explains them."""

    seconds: Sequence[float]
    wrong: int
    details: dict[str, Any]


class DriverError(Exception):
    """A driver ended or did not answer in time; its log says why."""


class Driven:
    """A driver in a process group of its own, so that closing it ends whatever it started."""

    def __init__(self, title: str, python: Path, driver: str, directory: Path) -> None:
        self.title = title
        directory.mkdir(parents=True)
        self._log = directory / "driver.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(python), str(DRIVERS / driver), str(directory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | {"PYTHONPATH": str(IMPORTS), "PYTHONDONTWRITEBYTECODE": "1"},
                start_new_session=True,
            )
        try:
            self._read(START_BOUND_S)
        except BaseException:
            self.close()
            raise

    def ask(self, job: str, order: Sequence[int], verify: bool) -> Answer:
        """Runs one job and waits for its end.

        Raises:
            DriverError: the driver ended, or took longer than a job may.
        """
        assert self._process.stdin is not None
        try:
            print(
                json.dumps({"job": job, "order": list(order), "verify": verify}), file=self._process.stdin, flush=True
            )
        except OSError as error:
            raise DriverError(f"{self.title}'s driver ended: {self._last_words()}") from error
        answer = self._read(JOB_BOUND_S)
        return Answer(answer["seconds"], answer["wrong"], answer["details"])

    def _read(self, bound_s: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        watchdog = threading.Timer(bound_s, self._kill)
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            raise DriverError(f"{self.title}'s driver ended or was stopped after {bound_s:g} s: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace").strip()[-1500:]

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Lets the driver end its peer, and then ends what is left of the group."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        self._kill()
        self._process.wait()
