"""The suite ``objects``: what a node pays for the objects that lie on its SSD, however many they are.

The objects have no bytes: a program of the folder ``bench`` writes their places into RocksDB, and sparse extents. A
node starts on them, and is asked by lookups that only peek, so that nothing is read. The same with few objects is the
reference.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvasir import Client
from kvasir_ops.arena_headers import committed_namespaces
from kvasir_ops.replay.content import Content

from kvasir_bench.context import Context
from kvasir_bench.java_bench import JavaBench, prepare
from kvasir_bench.node import MIB, Node, NodeError, read_metric
from kvasir_bench.objects import key_of, store_all
from kvasir_bench.peers.drivers.protocol import free_port
from kvasir_bench.records import Record, at_most, percentile, record

FEW = 10_000
CHAIN = 512
"""Objects of a chain, as the program makes them; a lookup is of one chain."""

LOOKUPS = 2000
MAKE_BOUND_S = 3600.0
WARM_BOUND_S = 300.0
START_GOAL_S, HEAP_GOAL_MIB, TABLE_GOAL_BYTES, LOOKUP_GOAL = 15, 192, 128, 2


@dataclass(frozen=True)
class Measured:
    """A node with so many objects: seconds until all are found, live heap, bytes beside the heap, times of lookups."""

    objects: int
    start_s: float
    heap_mib: float
    native_bytes: float
    lookups_us: list[float]


def run(context: Context) -> Generator[Record, None, None]:
    """Few objects, then as many as are asked for; a node that cannot start with them is the result."""
    programs = prepare(context.home, context.say)
    namespace = _namespace(context)
    few = _measure(context, programs, namespace, FEW)
    try:
        many = _measure(context, programs, namespace, context.objects)
    except Exception as error:
        yield record(
            "objects.start",
            f"start with {context.objects:,} objects on SSD: the node did not",
            "s",
            [],
            f"the same with {FEW:,}",
            [few.start_s],
            at_most(plus=START_GOAL_S),
        )
        context.skip(f"a node with {context.objects:,} objects", f"{type(error).__name__}: {error}")
        return
    count, reference = f"{context.objects:,} objects on SSD", f"the same with {FEW:,}"
    yield record(
        "objects.start",
        f"start until all of {count} are found",
        "s",
        [many.start_s],
        reference,
        [few.start_s],
        at_most(plus=START_GOAL_S),
    )
    yield record(
        "objects.heap",
        f"live heap with {count}",
        "MiB",
        [many.heap_mib],
        reference,
        [few.heap_mib],
        at_most(plus=HEAP_GOAL_MIB),
    )
    yield record(
        "objects.native_per_object",
        f"resident memory beside the heap, for each object more than {FEW:,}",
        "bytes",
        [(many.native_bytes - few.native_bytes) / (many.objects - few.objects)],
        f"all memory beside the heap with {FEW:,} objects",
        [few.native_bytes],
        at_most(plus=TABLE_GOAL_BYTES),
        native_mib=round(many.native_bytes / MIB, 1),
    )
    yield record(
        "objects.lookup_512",
        f"lookup (peek) of {CHAIN} keys with {count}, p50",
        "us",
        [percentile(many.lookups_us, 0.5)],
        reference,
        [percentile(few.lookups_us, 0.5)],
        at_most(LOOKUP_GOAL),
        p99=round(percentile(many.lookups_us, 0.99), 1),
        reference_p99=round(percentile(few.lookups_us, 0.99), 1),
    )


def _namespace(context: Context) -> bytes:
    """The id that a node gives the benchmarks' namespace: it stands in the header of an object that one stores."""
    place = context.shared_memory / "namespace"
    with closing(Node(context.home, context.directory / "namespace", place, _settings(0, 0, 0, free_port()))) as node:
        node.start()
        with node.client(deadline=30.0) as client:
            store_all(client, [key_of("namespace", 0)], Content(4096))
        (namespace,) = committed_namespaces(node.arena)
        return namespace


def _settings(capacity: int, extent: int, objects: int, port: int) -> dict[str, Any]:
    ssd = {"capacity": capacity, "extent": extent, "objects": objects} if capacity else {"capacity": 0}
    return {"dram": {"capacity": "64MiB"}, "ssd": ssd, "http": {"address": f"127.0.0.1:{port}"}}


def _measure(context: Context, programs: JavaBench, namespace: bytes, objects: int) -> Measured:
    name = f"objects-{objects}"
    directory = context.directory / name
    (directory / "ssd").mkdir(parents=True)
    context.say(f"objects: making {objects:,}")
    made = _make(programs, directory / "ssd", namespace, objects)
    context.say(f"objects: made in {made['seconds']} s; a node starts on them")
    port = free_port()
    settings = _settings(max(16 * MIB, made["capacity"]), made["extent"], objects, port)
    with closing(Node(context.home, directory, context.shared_memory / name, settings)) as node:
        begin = node.start()
        with node.client(deadline=30.0) as client:
            _until_found(node, client, objects)
            start_s = time.monotonic() - begin
            # Part of the node's heap is what the start has left; a collection shows what is needed.
            _collect(node)
            heap = _metric(port, "jvm_memory_bytes_used", "heap")
            native = node.anonymous_bytes() - _metric(port, "jvm_memory_bytes_committed", "heap")
            context.say(f"objects: found in {start_s:.1f} s; {LOOKUPS} lookups")
            lookups = _lookups(client, objects, context.seed)
    return Measured(objects, start_s, heap / MIB, native, lookups)


def _make(programs: JavaBench, directory: Path, namespace: bytes, objects: int) -> dict[str, Any]:
    done = subprocess.run(
        programs.command(
            "io.kvasir.storage.tier.ssd.SparseDirectory", os.fspath(directory), str(objects), namespace.hex()
        ),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=MAKE_BOUND_S,
    )
    if done.returncode:
        raise NodeError(f"the objects cannot be made: {done.stderr[-2000:]}")
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def chain_keys(chain: int, objects: int) -> bytes:
    """The packed keys of a chain: of an object its number, and zeros."""
    last = min(objects, (chain + 1) * CHAIN)
    return b"".join(number.to_bytes(8, "big") + bytes(24) for number in range(chain * CHAIN, last))


def _until_found(node: Node, client: Client, objects: int) -> None:
    """Waits until the first and the last chain are there: the order in which a node finds objects is its own affair."""
    end = time.monotonic() + WARM_BOUND_S
    missing = {0, (objects - 1) // CHAIN}
    while missing:
        node.check_alive()
        if time.monotonic() > end:
            raise NodeError(f"the node has not found {objects:,} objects within {WARM_BOUND_S:g} s")
        missing = {chain for chain in missing if not _is_pending(client, chain_keys(chain, objects))}
        if missing:
            time.sleep(0.01)


def _is_pending(client: Client, keys: bytes) -> bool:
    found: int = client.lookup(keys, peek=True).pending_chunks
    return found == len(keys) // 32


def _lookups(client: Client, objects: int, seed: int) -> list[float]:
    """Microseconds of lookups of full chains in random order."""
    draw = random.Random(seed)
    packed = [chain_keys(draw.randrange(objects // CHAIN), objects) for _ in range(LOOKUPS)]
    times: list[float] = []
    for keys in packed:
        begin = time.perf_counter_ns()
        found = client.lookup(keys, peek=True)
        times.append((time.perf_counter_ns() - begin) / 1000)
        if found.pending_chunks != CHAIN:
            raise NodeError(f"{found.pending_chunks} of {CHAIN} objects of a chain are there")
    # The first ones run before the node's code is compiled.
    return times[LOOKUPS // 4 :]


def _collect(node: Node) -> None:
    jcmd = Path(os.environ["JAVA_HOME"], "bin", "jcmd")
    subprocess.run([jcmd, str(node.pid), "GC.run"], check=True, capture_output=True, timeout=60)


def _metric(port: int, name: str, area: str) -> float:
    value = read_metric(port, name, f'area="{area}"')
    if value is None:
        raise NodeError(f"the node does not expose {name} of the {area}")
    return value
