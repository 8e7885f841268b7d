"""Drives LMCache's multi-process server on its engine-driven path over shared memory.

The objects are chunks of 256 tokens, 1 MiB each: one sequence of 512 chunks for the big request, and one sequence for
each single object. LMCache finds chunks by their prefix, so the big request has the order of the sequence.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# Read when the library is loaded. One copying thread, as in the other drivers.
os.environ.update(
    LMCACHE_TRACK_USAGE="false",
    LMCACHE_DISABLE_BANNER="1",
    LMCACHE_LOG_LEVEL="ERROR",
    HF_HUB_OFFLINE="1",
    OMP_NUM_THREADS="1",
    PYTHONHASHSEED="0",
)

import numpy as np
import torch
from lmcache.cli.commands.bench.server_bench import helpers
from lmcache.cli.commands.bench.server_bench.client import ServerBenchClient
from lmcache.cli.commands.bench.server_bench.config import BenchConfig

from kvasir_bench.peers.drivers import lmcache_server
from kvasir_bench.peers.drivers.protocol import (
    OBJECT_BYTES,
    OBJECTS,
    SINGLE_CALLS,
    content,
    free_port,
    serve,
    wait_until,
)

CHUNK_TOKENS = 256
BLOCK_TOKENS = 16
BLOCKS = 1024
# K and V, blocks, tokens of a block, heads, head size; one layer: 1 MiB for 256 tokens.
SHAPE = f"(2,{BLOCKS},{BLOCK_TOKENS},8,128):float16:1"
CAPACITY_GB = 2
TIMEOUT_S = 60.0


class LmcacheDriver:
    """One server and one client, both on this machine."""

    def __init__(self, directory: Path) -> None:
        self._calls = 0
        self._parts: dict[str, float] = {}
        self._rpc, self._http = free_port(), free_port()
        command = lmcache_server.command(
            Path(sys.executable), self._rpc, self._http, CHUNK_TOKENS, CAPACITY_GB, f"kvasir_bench_{os.getpid()}"
        )
        with (directory / "lmcache.log").open("wb") as log:
            self._server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._client: ServerBenchClient | None = None
        try:
            wait_until(self._healthy, "LMCache's server", 180)
            self._connect()
            self._fill()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        urls = f"tcp://127.0.0.1:{self._rpc}", f"http://127.0.0.1:{self._http}"
        config = BenchConfig(*urls, "cpu", "engine_driven", 1, False, CHUNK_TOKENS, SHAPE, BLOCKS, BLOCK_TOKENS)
        self._client = ServerBenchClient(config, lambda _: None)
        self._client.start()
        worker = self._client._workers[0]
        self._instance = worker.spec.instance_id
        self._context = worker.transfer_context.engine_driven_context
        self._requests = self._client._req_client
        # Every page of the shared pool is faulted in before anything is timed.
        np.frombuffer(self._context._shm_buffer, dtype=np.uint8)[::4096].sum()

    def _fill(self) -> None:
        self._memory = torch.ones(OBJECTS * OBJECT_BYTES // 2, dtype=torch.int16).view(torch.float16)
        self._places = list(self._memory.split(OBJECT_BYTES // 2))
        self._sequence = tuple(range(CHUNK_TOKENS * OBJECTS))
        self._store(self._sequence, list(range(OBJECTS)))
        for index in range(OBJECTS):
            self._store(self._single(index), [index])

    def _store(self, tokens: tuple[int, ...], indices: list[int]) -> None:
        request, lookup, transfer = self._keys(tokens)
        assert self._lookup(lookup) == 0
        slots, places = self._context.prepare_store(transfer, self._instance)
        for slot, place in zip(slots, places, strict=True):
            source = torch.from_numpy(content(indices[place]).copy()).view(torch.float16)
            slot.copy_(source.view(slot.shape))
        assert self._context.commit_store(transfer, self._instance, slots), "LMCache refused a store"
        self._end(request)

    def load_all(self, order: list[int]) -> float:
        """Retrieve (prepare, copy, commit) alone; the lookup before it and the session's end after it are parts."""
        order[:] = range(OBJECTS)  # the sequence's own order is the only one that LMCache serves with one request
        begin, found, prepared, copied, done, ended = self._load(self._sequence, order)
        self._parts = {"lookup_s": found - begin, "copy_s": copied - prepared, "whole_call_s": ended - begin}
        return done - found

    def load_one(self, index: int) -> float:
        """The whole call: lookup, retrieve, and the session's end, which gives the locks back."""
        begin, found, _, _, done, ended = self._load(self._single(index), [0])
        self._parts = {"retrieve_only_s": done - found}
        return ended - begin

    def lookup_all(self) -> float:
        """One lookup of the sequence, with the wait for its answer; the locks go back outside the time."""
        request, lookup, _ = self._keys(self._sequence)
        begin = time.perf_counter()
        hits = self._lookup(lookup)
        seconds = time.perf_counter() - begin
        assert hits == OBJECTS, f"LMCache found {hits} of {OBJECTS}"
        self._end(request)
        return seconds

    def _load(self, tokens: tuple[int, ...], places: list[int]) -> tuple[float, float, float, float, float, float]:
        request, lookup, transfer = self._keys(tokens)
        begin = time.perf_counter()
        hits = self._lookup(lookup)
        found = time.perf_counter()
        assert hits == len(places), f"LMCache found {hits} of {len(places)}"
        slots = self._context.prepare_retrieve(transfer, self._instance)
        prepared = time.perf_counter()
        for slot, place in zip(slots, places, strict=True):
            self._places[place].copy_(slot.reshape(-1))
        copied = time.perf_counter()
        self._context.commit_retrieve(transfer, self._instance)
        done = time.perf_counter()
        self._end(request)
        return begin, found, prepared, copied, done, time.perf_counter()

    def loaded(self, place: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """One object's place in the destination."""
        bytes_of: np.ndarray[Any, np.dtype[np.uint8]] = self._places[place].view(torch.int16).numpy().view(np.uint8)
        return bytes_of

    def details(self) -> dict[str, Any]:
        """Seconds of the parts of the last call."""
        return dict(self._parts)

    def close(self) -> None:
        """Ends the client and the server."""
        if self._client is not None:
            self._client.close()
        self._server.terminate()
        try:
            self._server.wait(20)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()

    def _lookup(self, key: Any) -> int:
        self._requests.lookup(key, 1).result(timeout=TIMEOUT_S)
        return int(self._requests.wait_prefetch_status(key.request_id, TIMEOUT_S).result(timeout=TIMEOUT_S + 10))

    def _end(self, request: str) -> None:
        self._requests.end_session(request).result(timeout=TIMEOUT_S)

    def _keys(self, tokens: tuple[int, ...]) -> tuple[str, Any, Any]:
        self._calls += 1
        request = f"kvasir-bench-{self._calls}"
        lookup = helpers._make_key(tokens, request, 0, len(tokens))
        return request, lookup, helpers._make_key(tokens, request, 0, len(tokens), worker_id=0)

    def _healthy(self) -> bool:
        assert self._server.poll() is None, "LMCache's server ended; its log is lmcache.log"
        return lmcache_server.answers(self._http)

    @staticmethod
    def _single(index: int) -> tuple[int, ...]:
        first = 200_000 + index * CHUNK_TOKENS
        return tuple(range(first, first + CHUNK_TOKENS))


assert SINGLE_CALLS <= OBJECTS
if __name__ == "__main__":
    serve(LmcacheDriver)
