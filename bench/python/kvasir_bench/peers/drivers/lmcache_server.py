"""LMCache's server on its engine-driven path over shared memory: how the benchmarks start it."""

from __future__ import annotations

import urllib.request
from pathlib import Path


def command(
    python: Path, port: int, http_port: int, chunk_tokens: int, capacity_gb: int, shared_memory: str
) -> list[str]:
    """Its command line.

    Args:
        python: of an environment with LMCache.
        port, http_port: of 127.0.0.1.
        chunk_tokens: tokens of a chunk.
        capacity_gb: of DRAM, allocated at the start.
        shared_memory: the name of its pool.
    """
    line = [str(python.with_name("lmcache")), "server", "--host", "127.0.0.1", "--port", str(port)]
    line += ["--http-host", "127.0.0.1", "--http-port", str(http_port), "--chunk-size", str(chunk_tokens)]
    line += ["--max-workers", "2", "--l1-size-gb", str(capacity_gb), "--no-l1-use-lazy", "--eviction-policy", "LRU"]
    return [*line, "--supported-transfer-mode", "engine_driven", "--shm-name", shared_memory]


def answers(http_port: int) -> bool:
    """Whether it is up."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/healthcheck", timeout=1) as answer:
            return int(answer.status) == 200
    except OSError:
        return False
