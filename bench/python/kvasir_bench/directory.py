"""Figures of the cluster's directory: what a lookup of 512 chunks costs, how fast a node announces, bytes for a chunk.

Two real nodes and, as the third, a Java program that uses their directory's own code and, beside it in the same Ignite
instances, a plain cache with one entry for each chunk.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Generator
from contextlib import ExitStack
from typing import Any

from kvasir import Client
from kvasir_ops.lab.nodes import free_ports
from kvasir_ops.replay.content import Content

from kvasir_bench.context import Context
from kvasir_bench.java_bench import prepare
from kvasir_bench.node import MIB, START_BOUND_S, Node
from kvasir_bench.objects import buffer
from kvasir_bench.records import Goal, Record, at_most, record

CHUNKS = 204_800
CHAIN = 512
OBJECT_BYTES = 4096
FIRST_ANSWERS = 40
RUN_BOUND_S = 240.0
ANONYMOUS_LIMIT_MIB = 600.0
ANNOUNCED_GOAL = 40_000.0


def run(context: Context) -> Generator[Record, None, None]:
    """The records ``cluster.directory.*``, of the first answer, of announcing, and of memory."""
    ports = free_ports(3)
    seed = f"127.0.0.1:{ports[0]}"
    with ExitStack() as stack:
        nodes = []
        for number, port in enumerate(ports[:2]):
            settings = {
                "node": {"name": f"directory-{number}"},
                "dram": {"capacity": 64 * MIB},
                "ssd": {"capacity": 0},
                "cluster": {"seeds": [seed], "address": f"127.0.0.1:{port}"},
            }
            node = Node(
                context.home,
                context.directory / f"directory-{number}",
                context.shared_memory / f"directory-{number}",
                settings,
            )
            stack.callback(node.close)
            node.start()
            nodes.append(node)
        holder, asker = (stack.enter_context(node.client()) for node in nodes)
        first_answers, arrived = _first_answers(holder, asker)
        figures = _third_node(context, seed, ports[2])
        anonymous = max(node.anonymous_bytes() for node in nodes) / MIB
    yield record(
        "cluster.directory.lookup",
        f"directory's part of a lookup of {CHAIN} keys, 3 nodes, p50",
        "us",
        [figures["directory"]["p50_us"]],
        "getAll of one plain entry for each chunk",
        [figures["plain"]["p50_us"]],
        at_most(plus=1000.0),
        p99_us=figures["directory"]["p99_us"],
        reference_p99_us=figures["plain"]["p99_us"],
    )
    yield record(
        "cluster.lookup.first_answer",
        f"first answer to a lookup of {CHAIN} keys that only a peer holds, p50",
        "us",
        [statistics.median(first_answers)],
        "the directory's part, in the same run",
        [figures["directory"]["p50_us"]],
        at_most(plus=2000.0),
        all_arrived_p50_us=round(statistics.median(arrived)),
    )
    yield record(
        "cluster.announce",
        "chunks announced by one node",
        "chunks/s",
        [figures["announced_per_second"]],
        "putAll of one plain entry for each chunk",
        [figures["plain_put_per_second"]],
        Goal("at_least", 0.0, ANNOUNCED_GOAL),
        failed_updates=figures["failed_updates"],
    )
    yield record(
        "cluster.directory.bytes",
        "directory memory of all nodes for a chunk, one holder, backups included",
        "bytes",
        [figures["bytes_per_chunk"]],
        "one plain entry for each chunk",
        [figures["plain_bytes_per_chunk"]],
        at_most(1.0),
        chunks=CHUNKS,
    )
    yield record(
        "cluster.memory.rss",
        "anonymous memory of a node in a cluster",
        "MiB",
        [anonymous],
        "the goal",
        [ANONYMOUS_LIMIT_MIB],
        at_most(plus=ANONYMOUS_LIMIT_MIB),
    )


def _first_answers(holder: Client, asker: Client) -> tuple[list[float], list[float]]:
    """Microseconds until the first answer, and until all objects are here, for chains that only the holder has."""
    content = Content(OBJECT_BYTES)
    answers: list[float] = []
    arrived: list[float] = []
    for _ in range(FIRST_ANSWERS):
        # A chain of its own, stored last, is seen once the one that counts can be.
        keys = [os.urandom(32) for _ in range(CHAIN)]
        last = [os.urandom(32)]
        _store_chain(holder, keys, content)
        _store_chain(holder, last, content)
        _await_seen(asker, last[0])
        began = time.perf_counter()
        with asker.lookup(keys, wait=0.0, deadline=5.0):
            answers.append((time.perf_counter() - began) * 1e6)
        with asker.lookup(keys, wait=4.0, deadline=5.0) as lease:
            if lease.hit_chunks == CHAIN:
                arrived.append((time.perf_counter() - began) * 1e6)
    if not arrived:
        raise RuntimeError("no chain came whole from the other node")
    return answers, arrived


def _store_chain(holder: Client, keys: list[bytes], content: Content) -> None:
    rows = buffer(len(keys), OBJECT_BYTES)
    for row, key in zip(rows, keys, strict=True):
        content.write(key, row)
    done = holder.store(keys, rows, parents=[bytes(32), *keys[:-1]], chunk_index=0, wait=5.0, deadline=30.0)
    if done.committed != len(keys):
        raise RuntimeError(f"the holder stored {done.committed} of {len(keys)} objects")


def _await_seen(asker: Client, key: bytes) -> None:
    end = time.monotonic() + START_BOUND_S
    while all(planned.status == "MISS" for planned in asker.lookup([key], peek=True, sparse=True).plan):
        if time.monotonic() > end:
            raise RuntimeError("what the holder stored was not seen in time")
        time.sleep(0.01)


def _third_node(context: Context, seed: str, port: int) -> dict[str, Any]:
    programs = prepare(context.home, context.say)
    command = programs.like_a_node("io.kvasir.bench.suite.DirectoryBench", seed, str(port), "3", str(CHUNKS))
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_BOUND_S, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the directory's bench failed: {done.stderr[-2000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures
