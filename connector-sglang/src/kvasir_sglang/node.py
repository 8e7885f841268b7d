"""The way to the node: the client of one rank's session, a breaker for a silent node, and the order of loads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from kvasir import Client, ClosedError, Copies, Deadline, KvasirError, NodeUnavailableError, Shard

from kvasir_sglang.metrics import SeldomLog, logger
from kvasir_sglang.options import Options

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0
#: Attaching maps the whole arena.
_ATTACH_SECONDS: Final = 30.0


class Connection:
    """One session of one shard. Its client is made on a thread of its own, again and again until a node is there.

    Each rank has a session of its own: a rank that dies takes nothing from the others, and no secret has to travel
    between them.
    """

    def __init__(self, options: Options, shard: Shard, name: str, copier: Callable[[], Copies] | None = None) -> None:
        self._options = options
        self._shard = shard
        self._name = name
        self._copier = copier
        self._client: Client | None = None
        self._why = "not attached yet"
        self._log = SeldomLog()
        self._closed = threading.Event()
        self._ready = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._connect, name="kvasir-connect", daemon=True)
        self._thread.start()

    def _connect(self) -> None:
        pause = _FIRST_PAUSE
        while not self._closed.is_set():
            try:
                client = Client.connect(
                    self._options.socket_path,
                    shards=(self._shard,),
                    name=self._name,
                    token=self._options.token(),
                    deadline=self._options.load_deadline_ms / 1000,
                    attach_deadline=_ATTACH_SECONDS,
                    copy_threads=self._options.threads,
                    spin=self._options.spin_us / 1e6,
                    copier=self._copier() if self._copier is not None else None,
                )
            except (KvasirError, OSError) as error:
                self._why = getattr(error, "message", str(error))
                self._log.warn("connect", f"no Kvasir node on {self._options.socket_path} yet: {error}")
                self._closed.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            with self._lock:
                if not self._closed.is_set():
                    self._client = client
                    self._ready.set()
                    logger.info("attached to the Kvasir node on %s as %s", self._options.socket_path, self._name)
                    return
            client.close()

    def wait(self, seconds: float) -> bool:
        """Until there is a client, at most ``seconds``."""
        return self._ready.wait(seconds)

    @property
    def client(self) -> Client:
        """The client, which attaches again by itself.

        Raises:
            NodeUnavailableError: no node has answered yet.
            ClosedError: after :meth:`close`.
        """
        client = self._client
        if client is None:
            if self._closed.is_set():
                raise ClosedError("the storage was detached")
            raise NodeUnavailableError(self._why)
        return client

    def close(self) -> None:
        """Ends the session. Idempotent."""
        with self._lock:
            self._closed.set()
            client, self._client = self._client, None
        if client is not None:
            client.close()


class Breaker:
    """Calls are misses at once after some in a row waited to their deadline in vain; one after each pause tries again.

    So a node that is paused costs a few deadlines and then none, where SGLang asks for one request after the other.
    """

    FAILURES: Final = 3
    FIRST_PAUSE: Final = 0.1
    LONGEST_PAUSE: Final = 2.0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._pause = 0.0
        self._not_before = 0.0

    def admits(self) -> bool:
        """Whether to try; of many threads one tries after a pause."""
        with self._lock:
            if self._failures < self.FAILURES:
                return True
            now = time.monotonic()
            if now < self._not_before:
                return False
            self._not_before = now + self._pause
            return True

    def answered(self) -> None:
        """The node lives."""
        if self._failures:
            with self._lock:
                self._failures = 0
                self._pause = 0.0

    def silent(self) -> None:
        """A call waited to its deadline without an answer."""
        with self._lock:
            self._failures += 1
            if self._failures >= self.FAILURES:
                self._pause = min(max(self._pause * 2, self.FIRST_PAUSE), self.LONGEST_PAUSE)
                self._not_before = time.monotonic() + self._pause


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
