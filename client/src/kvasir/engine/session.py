"""Attaches beside the engine, which starts without its node and meets it later."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from kvasir.backoff import Backoff
from kvasir.client import Client
from kvasir.engine.log import SeldomLog
from kvasir.errors import ClosedError, KvasirError, NodeUnavailableError

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0


class SessionKeeper:
    """One session. Its client is made on a thread of its own, again and again until a node is there.

    From then on the client attaches again by itself.

    Args:
        connect: makes an attached client. None: it cannot yet, and is asked again. An exception that is neither a
            KvasirError nor an OSError ends the attempts.
        logger: where attaching is told of.
        name: of the session, for people.
    """

    def __init__(self, connect: Callable[[], Client | None], logger: logging.Logger, name: str) -> None:
        self._connect = connect
        self._logger = logger
        self._name = name
        self._log = SeldomLog(logger)
        self._client: Client | None = None
        self._why = "not attached yet"
        self._closed = threading.Event()
        self._ready = threading.Event()
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name="kvasir-connect", daemon=True).start()

    def _run(self) -> None:
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while not self._closed.is_set():
            try:
                client = self._connect()
            except (KvasirError, OSError) as error:
                self._why = getattr(error, "message", str(error))
                self._log.warn("Kvasir: no node yet, everything is a miss until there is one", error)
                self._closed.wait(backoff.failed())
                continue
            except Exception as error:
                self._why = f"attaching failed for good: {error}"
                self._logger.exception("Kvasir: attaching failed for good; everything is a miss")
                return
            if client is None:
                self._closed.wait(_FIRST_PAUSE)
                continue
            with self._lock:
                if not self._closed.is_set():
                    self._client = client
                    self._ready.set()
                    self._logger.info("Kvasir: attached to the node as %s", self._name)
                    return
            client.close()

    def wait(self, seconds: float) -> bool:
        """Until there is a client, at most ``seconds``."""
        return self._ready.wait(seconds)

    def current(self) -> Client | None:
        """The client, once a node was met."""
        return self._client

    @property
    def client(self) -> Client:
        """The client.

        Raises:
            NodeUnavailableError: no node has answered yet.
            ClosedError: after :meth:`close`.
        """
        client = self._client
        if client is None:
            if self._closed.is_set():
                raise ClosedError("the session was ended")
            raise NodeUnavailableError(self._why)
        return client

    def close(self) -> None:
        """Ends the session. Idempotent."""
        with self._lock:
            self._closed.set()
            client, self._client = self._client, None
        if client is not None:
            client.close()
