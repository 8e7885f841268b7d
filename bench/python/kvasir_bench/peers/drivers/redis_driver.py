"""Drives Redis over its Unix socket: SET, GET, EXISTS in pipelines, with redis-py and hiredis."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import redis

from kvasir_bench.peers.drivers.protocol import OBJECT_BYTES, OBJECTS, content, serve, wait_until


class RedisDriver:
    """One redis-server without persistence, one client."""

    def __init__(self, directory: Path) -> None:
        binary = shutil.which("redis-server")
        assert binary is not None, "the suite starts this driver only where redis-server is installed"
        path = directory / "redis.sock"
        with (directory / "redis.log").open("wb") as log:
            self._server = subprocess.Popen(
                [
                    binary,
                    "--port",
                    "0",
                    "--unixsocket",
                    str(path),
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                    "--dir",
                    str(directory),
                ],
                stdout=log,
                stderr=log,
            )
        self._client = redis.Redis(unix_socket_path=str(path))
        try:
            wait_until(self._answers, "redis-server", 20)
            for index in range(OBJECTS):
                self._client.set(self._key(index), content(index).tobytes())
        except BaseException:
            self.close()
            raise
        self._memory = np.ones(OBJECTS * OBJECT_BYTES, dtype=np.uint8)

    def load_all(self, order: list[int]) -> float:
        """One pipeline of GET; the replies are bytes objects, copied to their places like every other system's."""
        begin = time.perf_counter()
        pipeline = self._client.pipeline(transaction=False)
        for index in order:
            pipeline.get(self._key(index))
        for place, value in enumerate(pipeline.execute()):
            self.loaded(place)[:] = np.frombuffer(value, dtype=np.uint8)
        return time.perf_counter() - begin

    def load_one(self, index: int) -> float:
        """One GET."""
        begin = time.perf_counter()
        self.loaded(0)[:] = np.frombuffer(self._client.get(self._key(index)), dtype=np.uint8)
        return time.perf_counter() - begin

    def lookup_all(self) -> float:
        """One pipeline of EXISTS: EXISTS with many keys answers only how many there are."""
        begin = time.perf_counter()
        pipeline = self._client.pipeline(transaction=False)
        for index in range(OBJECTS):
            pipeline.exists(self._key(index))
        there = pipeline.execute()
        seconds = time.perf_counter() - begin
        assert sum(there) == OBJECTS
        return seconds

    def loaded(self, place: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """One object's place in the destination."""
        return self._memory[place * OBJECT_BYTES : (place + 1) * OBJECT_BYTES]

    def details(self) -> dict[str, Any]:
        """Versions."""
        return {"version": self._client.info("server")["redis_version"]}

    def close(self) -> None:
        """Ends the server."""
        self._client.close()
        self._server.terminate()
        self._server.wait()

    def _answers(self) -> bool:
        assert self._server.poll() is None, "redis-server ended; its log is redis.log"
        try:
            return bool(self._client.ping())
        except redis.RedisError:
            return False

    @staticmethod
    def _key(index: int) -> bytes:
        return b"%032d" % index


if __name__ == "__main__":
    serve(RedisDriver)
