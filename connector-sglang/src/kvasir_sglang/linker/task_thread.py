"""A thread with a queue, for work that SGLang's threads must not wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, Queue
from typing import Any, Final

from kvasir_sglang.shared.metrics import logger

#: How often a thread without work looks after things.
_IDLE_SECONDS: Final = 1.0


class TaskThread:
    """A thread that works through a queue, and looks after things in between."""

    def __init__(self, name: str, work: Callable[[Any], None], between: Callable[[], None] | None = None) -> None:
        self._work = work
        self._between = between
        self._tasks: Queue[Any] = Queue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def put(self, task: Any) -> None:
        """Adds work."""
        self._tasks.put(task)

    def drain(self) -> None:
        """Waits for all work so far, each piece of which ends by its deadline."""
        self._tasks.join()

    def close(self) -> None:
        """Ends the thread. Idempotent."""
        self._tasks.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                task = self._tasks.get(timeout=_IDLE_SECONDS)
            except Empty:
                self._guarded(self._between)
                continue
            try:
                if task is None:
                    return
                self._guarded(self._work, task)
            finally:
                self._tasks.task_done()
            self._guarded(self._between)

    def _guarded(self, work: Callable[..., None] | None, *arguments: Any) -> None:
        if work is not None:
            try:
                work(*arguments)
            except Exception:
                logger.exception("%s goes on after an error inside", self._thread.name)
