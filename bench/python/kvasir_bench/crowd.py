"""Other engines beside the one that is measured: connections of another process that send the longest lookups."""

from __future__ import annotations

import multiprocessing
import threading
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event

from kvasir import Client, KvasirError

from kvasir_bench.node import NAMESPACE
from kvasir_bench.objects import key_of

CONNECTIONS = 4
KEYS = 65_536
"""As many keys as one request may have."""
START_BOUND_S = 60.0


class Crowd:
    """A process whose connections look up keys that are nowhere, one lookup after the other, while it is awake."""

    def __init__(self, socket: str) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._awake = spawn.Event()
        self._end = spawn.Event()
        self._done: Synchronized[int] = spawn.Value("q", 0)
        ready = spawn.Event()
        self._process = spawn.Process(
            target=_run, args=(socket, ready, self._awake, self._end, self._done), daemon=True
        )
        self._process.start()
        if not ready.wait(START_BOUND_S):
            self.close()
            raise RuntimeError(f"the crowd has not attached within {START_BOUND_S:g} s")

    def wake(self) -> None:
        """Lets it begin."""
        self._awake.set()

    def rest(self) -> None:
        """Lets it stop after the lookups that are under way."""
        self._awake.clear()

    def lookups(self) -> int:
        """Lookups that were answered so far."""
        return int(self._done.value)

    def close(self) -> None:
        """Ends the process."""
        self._end.set()
        self._awake.set()
        self._process.join(10.0)
        if self._process.is_alive():
            self._process.kill()


def _run(socket: str, ready: Event, awake: Event, end: Event, done: Synchronized[int]) -> None:
    packed = b"".join(key_of("absent", index) for index in range(KEYS))

    def look_up() -> None:
        with Client.connect(socket, namespace=NAMESPACE, name="crowd", deadline=30.0) as client:
            attached.wait()
            while not end.is_set():
                awake.wait()
                lease = client.lookup(packed)
                if lease.hit_chunks:
                    raise KvasirError(f"{lease.hit_chunks} of {KEYS} absent keys are there")
                with done.get_lock():
                    done.value += 1

    attached = threading.Barrier(CONNECTIONS, ready.set)
    threads = [threading.Thread(target=look_up) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
