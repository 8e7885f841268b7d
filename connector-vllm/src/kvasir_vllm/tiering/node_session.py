"""The tier's one client of the node, and whether to use it now."""

from __future__ import annotations

import logging
from typing import Final, Protocol

from kvasir import Client
from kvasir.engine.breaker import Breaker
from kvasir.engine.session import SessionKeeper

_log = logging.getLogger(__name__)

_ATTACH_S: Final = 10.0


class Connect(Protocol):
    """Makes an attached client; None: it cannot yet, and will be asked again."""

    def __call__(self, attach_deadline: float) -> Client | None:
        """Within ``attach_deadline`` seconds. Raises KvasirError when there is no node."""


class NodeSession(SessionKeeper):
    """Attaches in the background, and asks no node that has failed some times in a row."""

    def __init__(self, connect: Connect) -> None:
        self._breaker = Breaker()
        super().__init__(lambda: connect(_ATTACH_S), _log, "vllm tiering")

    def usable(self) -> Client | None:
        """The client, if it is to be asked now; whoever gets it says :meth:`succeeded` or :meth:`failed` afterwards."""
        client = self.current()
        return client if client is not None and self._breaker.allow() else None

    def succeeded(self) -> None:
        """The node answered."""
        if self._breaker.succeeded():
            _log.info("Kvasir: the node answers again")

    def failed(self, why: object) -> None:
        """The node did not answer, or answered with an error."""
        if self._breaker.failed():
            _log.warning("Kvasir: no use of the node for now, everything is a miss: %s", why)
