"""Drives Kvasir for the comparison: the launcher's node with its default waiting, and one client."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from kvasir_bench.node import Node
from kvasir_bench.objects import buffer, key_of
from kvasir_bench.peers.drivers.protocol import OBJECT_BYTES, OBJECTS, content, serve


class KvasirDriver:
    """A node without SSD, like the peers; one copying thread."""

    def __init__(self, directory: Path) -> None:
        self._arena = Path(tempfile.mkdtemp(prefix="kvasir-bench-peers-", dir="/dev/shm"))
        home = Path(os.environ["KVASIR_HOME"])
        self._node = Node(home, directory, self._arena, {"dram": {"capacity": "1024MiB"}, "ssd": {"capacity": 0}})
        try:
            self._node.start()
            self._client = self._node.client(deadline=30.0)
            self._memory = buffer(OBJECTS, OBJECT_BYTES)
            self._keys = [key_of("peers", index) for index in range(OBJECTS)]
            self._packed = b"".join(self._keys)
            for index, key in enumerate(self._keys):
                stored = self._client.store([key], [content(index)])
                assert stored.committed == 1, f"the node refused an object: {stored.statuses}"
        except BaseException:
            self.close()
            raise

    def load_all(self, order: list[int]) -> float:
        """Lookup, load and release of all objects."""
        begin = time.perf_counter()
        lease = self._client.lookup(b"".join([self._keys[index] for index in order]))
        result = self._client.load(lease, self._memory)
        lease.release()
        seconds = time.perf_counter() - begin
        assert result.leading_chunks == OBJECTS, f"{result.leading_chunks} objects were loaded"
        return seconds

    def load_one(self, index: int) -> float:
        """Lookup, load and release of one object."""
        begin = time.perf_counter()
        lease = self._client.lookup(self._keys[index])
        result = self._client.load(lease, self._memory[:1])
        lease.release()
        seconds = time.perf_counter() - begin
        assert result.leading_chunks == 1
        return seconds

    def lookup_all(self) -> float:
        """One lookup, which leases; the release is outside the time, as it is for the peers."""
        begin = time.perf_counter()
        lease = self._client.lookup(self._packed)
        seconds = time.perf_counter() - begin
        assert lease.hit_chunks == OBJECTS, f"{lease.hit_chunks} hits"
        lease.release()
        return seconds

    def loaded(self, place: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """One object's place in the destination."""
        row: np.ndarray[Any, np.dtype[np.uint8]] = self._memory[place]
        return row

    def details(self) -> dict[str, Any]:
        """Threads that copy."""
        return {"copy_threads": 1}

    def close(self) -> None:
        """Ends client and node, and removes the arena."""
        if hasattr(self, "_client"):
            self._client.close()
        self._node.close()
        shutil.rmtree(self._arena, ignore_errors=True)


if __name__ == "__main__":
    serve(KvasirDriver)
