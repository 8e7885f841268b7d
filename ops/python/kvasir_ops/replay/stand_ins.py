"""The processes that replay a trace: each attached to a node, all taking requests off one counter."""

from __future__ import annotations

import multiprocessing
import queue
from multiprocessing.context import SpawnProcess

from kvasir_ops.replay.engine import EngineSettings, run_engine
from kvasir_ops.replay.tally import RequestReport
from kvasir_ops.replay.trace import TraceRequest


class StandInFailedError(Exception):
    """A stand-in ended by itself; the message says which."""


class StandIns:
    """All stand-ins of a run. A context manager; owned by one thread, with which they die."""

    def __init__(self, requests: list[TraceRequest], object_bytes: int, compute_tokens_per_s: float) -> None:
        self._requests = requests
        self._object_bytes = object_bytes
        self._compute_tokens_per_s = compute_tokens_per_s
        self._context = multiprocessing.get_context("spawn")
        self._reports: queue.Queue[RequestReport] = self._context.Queue()  # type: ignore[assignment]  # same methods
        # Kept here: its semaphore has a name, which goes when this object goes, and the processes open it by that.
        self._ticket = self._context.Value("i", 0)
        self._open_until = self._context.Value("i", len(requests))
        self._processes: list[SpawnProcess] = []

    @property
    def count(self) -> int:
        """How many have been started."""
        return len(self._processes)

    @property
    def open_until(self) -> int:
        """How many requests may be served; all of them, unless :meth:`hold_back` said otherwise."""
        return int(self._open_until.value)

    def hold_back(self, after: int) -> None:
        """Lets ``after`` requests be served in all, and the others wait until more are allowed."""
        self._open_until.value = after

    def start(self, node: str, socket: str) -> int:
        """Starts one at a node that answers; its number."""
        number = len(self._processes)
        settings = EngineSettings(number, node, socket, self._requests, self._object_bytes, self._compute_tokens_per_s)
        process = self._context.Process(
            target=run_engine,
            args=(settings, self._ticket, self._open_until, self._reports),
            daemon=True,
            name=f"stand-in {number}",
        )
        process.start()
        self._processes.append(process)
        return number

    def reports(self, wait: float) -> list[RequestReport]:
        """The reports that are there; waits up to ``wait`` seconds for the first."""
        found: list[RequestReport] = []
        try:
            found.append(self._reports.get(timeout=wait))
            while True:
                found.append(self._reports.get_nowait())
        except queue.Empty:
            return found

    def check(self) -> None:
        """Raises when one has ended with an error.

        Raises:
            StandInFailedError: it has.
        """
        for process in self._processes:
            if process.exitcode:
                raise StandInFailedError(f"{process.name} ended with status {process.exitcode}")

    def close(self) -> None:
        """Ends all. Idempotent."""
        for process in self._processes:
            process.kill()
            process.join()

    def __enter__(self) -> StandIns:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()
