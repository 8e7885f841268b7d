"""The tier's one client of the node, and whether to use it now."""

from __future__ import annotations

import logging
import threading
from typing import Final, Protocol

from kvasir import Client, KvasirError

from kvasir_vllm.breaker import Breaker

_log = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0


class Connect(Protocol):
    """Makes an attached client; None: it cannot yet, and will be asked again."""

    def __call__(self, attach_deadline: float) -> Client | None:
        """Within ``attach_deadline`` seconds. Raises KvasirError when there is no node."""


class Link:
    """Attaches in the background, so that an engine starts without its node and meets it later."""

    def __init__(self, connect: Connect) -> None:
        self._breaker = Breaker()
        self._connect = connect
        self._client: Client | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._attach, name="kvasir-tier-attach", daemon=True)
        self._thread.start()

    def client(self) -> Client | None:
        """The client; None until the node was met for the first time. Afterwards it attaches again by itself."""
        return self._client

    def usable(self) -> Client | None:
        """The client, if it is to be asked now; whoever gets it says :meth:`succeeded` or :meth:`failed` afterwards."""
        client = self._client
        return client if client is not None and self._breaker.allow() else None

    def succeeded(self) -> None:
        """The node answered."""
        if self._breaker.succeeded():
            _log.info("Kvasir: the node answers again")

    def failed(self, why: object) -> None:
        """The node did not answer, or answered with an error."""
        if self._breaker.failed():
            _log.warning("Kvasir: no use of the node for now, everything is a miss: %s", why)

    def _attach(self) -> None:
        pause = _FIRST_PAUSE
        said = False
        while not self._ended.is_set():
            try:
                client = self._connect(10.0)
            except KvasirError as error:
                if not said:
                    _log.warning("Kvasir: no node yet, everything is a miss until there is one: %s", error)
                    said = True
                self._ended.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            except Exception:
                _log.exception("Kvasir: attaching failed for good; everything is a miss")
                return
            if client is None:
                self._ended.wait(_FIRST_PAUSE)
                continue
            with self._lock:
                if self._ended.is_set():
                    client.close()
                else:
                    self._client = client
                    _log.info("Kvasir: attached to the node")
            return

    def close(self) -> None:
        """Ends the attachment. Copies must have stopped."""
        self._ended.set()
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()
