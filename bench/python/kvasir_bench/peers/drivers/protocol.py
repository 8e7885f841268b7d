"""What every peer driver shares: the line protocol with the suite, and the bytes that objects hold.

A driver is a script that runs in its peer's own environment, so this file needs nothing but numpy. The suite sends one
JSON object a line (``{"job": "load.1m.512", "verify": true}``) and gets one back (``{"seconds": [...], "wrong": 0}``).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

OBJECT_BYTES = 1 << 20
OBJECTS = 512
SINGLE_CALLS = 100
LOOKUP_CALLS = 20


class Driver(Protocol):
    """The three jobs; each returns the seconds of every call."""

    def load_all(self, order: list[int]) -> float:
        """Loads all objects into the driver's memory with one request; seconds from the question to the last byte.

        A system that cannot choose the order writes the one it used into ``order``.
        """

    def load_one(self, index: int) -> float:
        """Loads one object with a call of its own."""

    def lookup_all(self) -> float:
        """Asks which of all the objects are there."""

    def loaded(self, place: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The bytes at a place of the driver's memory: what the last load of that place left there."""

    def details(self) -> dict[str, Any]:
        """What else the last calls told, for the record: seconds by part, settings."""

    def close(self) -> None:
        """Ends the connection and every process of the peer."""


def content(index: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The bytes of object ``index``; nothing but the index decides them."""
    return np.frombuffer(np.random.Generator(np.random.PCG64(index)).bytes(OBJECT_BYTES), dtype=np.uint8)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(ready: Callable[[], bool], what: str, seconds: float) -> None:
    """Polls until a service is up; TimeoutError names it."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} was not up after {seconds:g} s")
        time.sleep(0.02)


def serve(start: Callable[[Path], Driver]) -> None:
    """Runs a driver for the suite: ``sys.argv[1]`` is a directory for its files. Ends at the end of the input."""
    # The peers' libraries print as they like; answers go out on a descriptor that only this function has.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    driver = start(Path(sys.argv[1]))
    try:
        print(json.dumps({"ready": True}), file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(_answer(driver, json.loads(line))), file=answers, flush=True)
    finally:
        driver.close()


def _answer(driver: Driver, question: dict[str, Any]) -> dict[str, Any]:
    job, order = question["job"], question["order"]
    wrong = 0
    if job == "load.1m.512":
        seconds = [driver.load_all(order)]
        if question["verify"]:
            wrong = sum(not np.array_equal(driver.loaded(place), content(index)) for place, index in enumerate(order))
    elif job == "load.1m.1":
        seconds = [driver.load_one(index) for index in order[:SINGLE_CALLS]]
        wrong = int(not np.array_equal(driver.loaded(0), content(order[SINGLE_CALLS - 1])))
    elif job == "lookup.512":
        seconds = [driver.lookup_all() for _ in range(LOOKUP_CALLS)]
    else:
        raise ValueError(f"no job {job!r}")
    return {"seconds": seconds, "wrong": wrong, "details": driver.details()}
