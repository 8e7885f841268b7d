"""The way to the node: the client of one rank's session, and the order of loads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from kvasir import Client, Copies, Deadline, Shard
from kvasir.engine.session import SessionKeeper

from kvasir_sglang.shared.metrics import logger
from kvasir_sglang.shared.options import EngineOptions

#: Attaching maps the whole arena.
_ATTACH_SECONDS: Final = 30.0


class Connection(SessionKeeper):
    """One session of one shard.

    Each rank has a session of its own: a rank that dies takes nothing from the others, and no secret has to travel
    between them.
    """

    def __init__(
        self, options: EngineOptions, shard: Shard, name: str, copier: Callable[[], Copies] | None = None
    ) -> None:
        def connect() -> Client:
            return Client.connect(
                options.socket_path,
                shards=(shard,),
                name=name,
                token=options.token(),
                deadline=options.load_deadline_ms / 1000,
                attach_deadline=_ATTACH_SECONDS,
                copy_threads=options.threads,
                spin=options.spin_us / 1e6,
                copier=copier() if copier is not None else None,
            )

        super().__init__(connect, logger, name)


class LoadGate:
    """Lets loads go before backups: a slice of a backup waits until no load runs, but never longer than its bound."""

    def __init__(self, bound_seconds: float) -> None:
        self._bound = bound_seconds
        self._loads = 0
        self._condition = threading.Condition()

    @contextmanager
    def load(self) -> Iterator[None]:
        """Around a load."""
        with self._condition:
            self._loads += 1
        try:
            yield
        finally:
            with self._condition:
                self._loads -= 1
                if not self._loads:
                    self._condition.notify_all()

    def yield_to_loads(self, deadline: Deadline) -> None:
        """Before a slice of a backup."""
        if self._loads:
            with self._condition:
                self._condition.wait_for(lambda: not self._loads, min(self._bound, max(deadline.remaining(), 0)))
