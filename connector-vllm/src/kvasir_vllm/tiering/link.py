"""The tier's one client of the node, and whether to use it now."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from kvasir import Client, KvasirError

_log = logging.getLogger(__name__)

_FAILURES_TO_OPEN: Final = 3
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0


class Breaker:
    """Stops asking a node that does not answer, and probes its way back. Thread-safe.

    After three failures in a row it is open: nothing is asked for a pause that grows from 0.1 s to 5 s. Then one call
    may try: its success closes the breaker, its failure doubles the pause.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._pause = 0.0
        self._closed_until = 0.0
        self._probing = False

    @property
    def open(self) -> bool:
        """True while calls are refused or a probe is under way."""
        return self._failures >= _FAILURES_TO_OPEN

    def allow(self) -> bool:
        """Whether to call now; whoever is told True says :meth:`succeeded` or :meth:`failed` afterwards."""
        if not self.open:
            return True
        with self._lock:
            if self._probing or self._clock() < self._closed_until:
                return False
            self._probing = True
            return True

    def would_allow(self) -> bool:
        """What :meth:`allow` would say, without taking the probe."""
        return not self.open or (not self._probing and self._clock() >= self._closed_until)

    def succeeded(self) -> None:
        """The node answered."""
        with self._lock:
            if self.open:
                _log.info("Kvasir: the node answers again")
            self._failures = 0
            self._pause = 0.0
            self._probing = False

    def failed(self, why: object) -> None:
        """The node did not answer, or answered with an error."""
        with self._lock:
            was_open = self.open
            self._failures += 1
            self._probing = False
            if self.open:
                self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
                self._closed_until = self._clock() + self._pause
                if not was_open:
                    _log.warning("Kvasir: no use of the node for now, everything is a miss: %s", why)


class Connect(Protocol):
    """Makes an attached client; None: it cannot yet, and will be asked again."""

    def __call__(self, attach_deadline: float) -> Client | None:
        """Within ``attach_deadline`` seconds. Raises KvasirError when there is no node."""


class Link:
    """Attaches in the background, so that an engine starts without its node and meets it later."""

    def __init__(self, connect: Connect) -> None:
        self.breaker = Breaker()
        self._connect = connect
        self._client: Client | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._attach, name="kvasir-tier-attach", daemon=True)
        self._thread.start()

    def client(self) -> Client | None:
        """The client; None until the node was met for the first time. Afterwards it attaches again by itself."""
        return self._client

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
