"""Drives Mooncake Store over TCP on loopback: a master, a process that lends its memory, and this client.

The client lends no memory itself, so that every object lies in another process, as with the other systems.
"""

from __future__ import annotations

import mmap
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from kvasir_bench.peers.drivers.protocol import OBJECT_BYTES, OBJECTS, content, free_port, serve, wait_until

# Read once, when the library is loaded; both processes inherit them.
os.environ.update(MC_TCP_BIND_ADDRESS="127.0.0.1", MC_LOG_LEVEL="WARNING", GLOG_minloglevel="1")
SEGMENT_BYTES = 1 << 30
STAGING_BYTES = 600 << 20
LEASE_MS = 10_000


def connect(master: str, segment_bytes: int, staging_bytes: int) -> Any:
    """A store client of the master that lends ``segment_bytes``; RuntimeError when the master refuses it."""
    from mooncake.store import MooncakeDistributedStore

    store = MooncakeDistributedStore()
    code = store.setup(f"127.0.0.1:{free_port()}", "P2PHANDSHAKE", segment_bytes, staging_bytes, "tcp", "", master)
    if code != 0:
        raise RuntimeError(f"Mooncake's setup answered {code}")
    return store


def lend(master: str) -> None:
    """The other process: lends memory until its input ends."""
    store = connect(master, SEGMENT_BYTES, 16 << 20)
    print("lending", flush=True)
    sys.stdin.read()
    store.close()


def listens(port: int) -> bool:
    """Whether somebody answers on a port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
    except OSError:
        return False
    return True


class MooncakeDriver:
    """Master, lender and client of one run."""

    def __init__(self, directory: Path) -> None:
        port = free_port()
        self._master_address = f"127.0.0.1:{port}"
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            self._start_servers(directory, port)
            self._fill()
        except BaseException:
            self.close()
            raise

    def _start_servers(self, directory: Path, port: int) -> None:
        master = "import sys; from mooncake.cli import main; sys.argv[0] = 'mooncake_master'; main()"
        flags = [f"-rpc_port={port}", "-rpc_address=127.0.0.1", f"-metrics_port={free_port()}"]
        flags += ["-metrics_host=127.0.0.1", f"-default_kv_lease_ttl={LEASE_MS}", "-logtostderr=1"]
        with (directory / "mooncake.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", master, *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            )
            wait_until(lambda: self._listens(port), "Mooncake's master", 30)
            lender = subprocess.Popen(
                [sys.executable, __file__, "--lend", self._master_address],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._processes.append(lender)
        assert lender.stdout is not None
        for line in lender.stdout:
            if line.strip() == b"lending":
                return
        raise RuntimeError("the lending process ended; its log is mooncake.log")

    def _fill(self) -> None:
        self._store = connect(self._master_address, 0, STAGING_BYTES)
        self._mapping = mmap.mmap(-1, OBJECTS * OBJECT_BYTES)
        self._memory = np.frombuffer(self._mapping, dtype=np.uint8)
        self._address = self._memory.ctypes.data
        self._memory[:] = 1
        code = self._store.register_buffer(self._address, OBJECTS * OBJECT_BYTES)
        assert code == 0, f"register_buffer answered {code}"
        for index in range(OBJECTS):
            self.loaded(0)[:] = content(index)
            code = self._store.put_from(self._key(index), self._address, OBJECT_BYTES)
            assert code == 0, f"put_from answered {code}"

    def load_all(self, order: list[int]) -> float:
        """One batch_get_into; it asks the master for the places by itself."""
        begin = time.perf_counter()
        keys = [self._key(index) for index in order]
        places = [self._address + place * OBJECT_BYTES for place in range(OBJECTS)]
        lengths = self._store.batch_get_into(keys, places, [OBJECT_BYTES] * OBJECTS)
        seconds = time.perf_counter() - begin
        assert list(lengths) == [OBJECT_BYTES] * OBJECTS, "batch_get_into failed for some objects"
        return seconds

    def load_one(self, index: int) -> float:
        """One get_into."""
        begin = time.perf_counter()
        length = self._store.get_into(self._key(index), self._address, OBJECT_BYTES)
        seconds = time.perf_counter() - begin
        assert length == OBJECT_BYTES, f"get_into answered {length}"
        return seconds

    def lookup_all(self) -> float:
        """One batch_is_exist, which also gives leases."""
        keys = [self._key(index) for index in range(OBJECTS)]
        begin = time.perf_counter()
        there = self._store.batch_is_exist(keys)
        seconds = time.perf_counter() - begin
        assert list(there) == [1] * OBJECTS
        return seconds

    def loaded(self, place: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """One object's place in the registered buffer."""
        return self._memory[place * OBJECT_BYTES : (place + 1) * OBJECT_BYTES]

    def details(self) -> dict[str, Any]:
        """The transport."""
        return {"transport": "tcp"}

    def close(self) -> None:
        """Ends client, lender and master."""
        if hasattr(self, "_store"):
            self._store.close()
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _listens(self, port: int) -> bool:
        assert self._processes[0].poll() is None, "Mooncake's master ended; its log is mooncake.log"
        return listens(port)

    @staticmethod
    def _key(index: int) -> str:
        return f"{index:032d}"


if __name__ == "__main__":
    if sys.argv[1] == "--lend":
        lend(sys.argv[2])
    else:
        serve(MooncakeDriver)
