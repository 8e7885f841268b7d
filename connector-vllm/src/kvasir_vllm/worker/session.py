"""A worker's place in the session that the scheduler's half owns."""

from __future__ import annotations

import threading
from typing import Any

from kvasir import Client, Deadline, KvasirError, NodeUnavailableError
from kvasir.backoff import Backoff

from kvasir_vllm.shared.metadata import Ticket

_ATTACH_S = 30.0
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0


class WorkerSession:
    """Joins with the newest ticket, on whatever thread needs it first. Thread-safe."""

    def __init__(self, socket: str, token: str, name: str, copier: Any = None) -> None:
        self._socket, self._token, self._name, self._copier = socket, token.encode(), name, copier
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._joined = 0
        self._backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        self._failed = 0
        self._closed = False

    def client(self, ticket: Ticket, deadline: Deadline) -> Client:
        """The client of this ticket's session.

        Raises:
            KvasirError: no node, or the session is gone; tried again later, not at every call.
        """
        if not self._lock.acquire(timeout=max(deadline.remaining(), 0)):
            raise NodeUnavailableError("another thread is joining the session")
        try:
            if self._client is not None and self._joined == ticket.session:
                return self._client
            if self._closed or ticket.session == 0:
                raise NodeUnavailableError("there is no session to join")
            if self._failed == ticket.session and not self._backoff.due:
                raise NodeUnavailableError("joining the session failed a moment ago")
            try:
                if self._client is not None:
                    self._client.rejoin(ticket.session, ticket.secret)
                    self._client.attachment  # noqa: B018  attaches
                else:
                    self._client = Client.join(
                        self._socket, ticket.session, ticket.secret, namespace=ticket.opened(""), name=self._name,
                        token=self._token, attach_deadline=_ATTACH_S, copier=self._copier,
                    )  # fmt: skip
            except KvasirError:
                if self._failed != ticket.session:
                    self._backoff.reset()
                self._backoff.failed()
                self._failed = ticket.session
                raise
            self._backoff.reset()
            self._joined = ticket.session
            return self._client
        finally:
            self._lock.release()

    def close(self) -> None:
        """Ends the attachment, once no copy runs."""
        with self._lock:
            self._closed = True
            client, self._client = self._client, None
        if client is not None:
            client.close()
