"""The suite ``memory``: what a node with many small objects keeps in its own memory, and allocates for a lookup."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

from kvasir_ops.replay.content import Content

from kvasir_bench.context import Context
from kvasir_bench.node import MIB, Node, NodeError, read_metric
from kvasir_bench.objects import key_of, store_all
from kvasir_bench.peers.drivers.protocol import free_port
from kvasir_bench.records import Record, at_most, record

OBJECTS = 100_000
OBJECT_BYTES = 4096
LOOKUP_KEYS = 512
LOOKUPS = 4000
KEY_BYTES = 32
SLOT_RECORD_BYTES = 32
ALLOCATED = ("kvasir_node_allocated_bytes_total", "jvm_memory_pool_allocated_bytes_total")
"""Counters of allocated heap, the exact one first; the other moves at collections only, so many lookups are needed."""


def run(context: Context) -> Generator[Record, None, None]:
    """One node that is filled, once; memory has no warm-up to repeat."""
    port = free_port()
    node = Node(
        context.home,
        context.directory / "memory",
        context.shared_memory / "memory",
        {"dram": {"capacity": "768MiB"}, "ssd": {"capacity": 0}, "http": {"address": f"127.0.0.1:{port}"}},
    )
    with closing(node):
        node.start()
        with node.client(deadline=30.0) as client:
            empty = node.anonymous_bytes() / MIB
            context.say(f"memory: storing {OBJECTS:,} objects of {OBJECT_BYTES} bytes")
            keys = [key_of("memory", index) for index in range(OBJECTS)]
            store_all(client, keys, Content(OBJECT_BYTES), batch=512)
            there = sum(
                client.lookup(keys[first : first + 1000], peek=True).hit_chunks for first in range(0, OBJECTS, 1000)
            )
            if there != OBJECTS:
                raise NodeError(f"{there} of {OBJECTS} objects are there")
            # A heap in use is as large as its use lets it be: work on it before it is measured.
            packed = b"".join(keys[:LOOKUP_KEYS])
            samples: list[float] = []
            allocated: list[float] = []
            for _ in range(context.runs):
                context.say(f"memory: {LOOKUPS} lookups of {LOOKUP_KEYS} keys")
                before = _allocated(port)
                for _ in range(LOOKUPS):
                    client.lookup(packed).release()
                client.ping()
                allocated.append((_allocated(port) - before) / LOOKUPS)
                samples.append(node.anonymous_bytes() / MIB)
            yield record(
                "memory.rss",
                f"resident anonymous memory with {OBJECTS:,} objects of {OBJECT_BYTES // 1024} KiB, after lookups",
                "MiB",
                [max(samples)],
                "the same node before the first object",
                [empty],
                at_most(plus=300),
            )
            yield record(
                "memory.alloc_per_lookup",
                f"heap that the node allocates for a lookup of {LOOKUP_KEYS} keys and its release",
                "bytes",
                allocated,
                "the bytes of the request's keys and of the answer's slot records",
                [float(LOOKUP_KEYS * (KEY_BYTES + SLOT_RECORD_BYTES))],
                at_most(4),
            )


def _allocated(port: int) -> float:
    for name in ALLOCATED:
        value = read_metric(port, name)
        if value is not None:
            return value
    raise NodeError(f"the node exposes none of {', '.join(ALLOCATED)}")
