"""The suite ``engine``: loads and stores through the client, beside a bare loop of memcpy over the same addresses.

Both copy with the client's own copy function on one thread. The reference is the loop alone: no lookup, no checks, its
addresses worked out before the clock starts. Before each timed call other objects are copied to the same place, so that
neither finds its bytes in the processor's cache because the other has just touched them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

from kvasir import Client, Deadline, SlotStatus
from kvasir._calls import StoreCall
from kvasir._memory import copy
from kvasir_ops.replay.content import Content

from kvasir_bench.context import Context
from kvasir_bench.node import MIB, Node
from kvasir_bench.objects import Bytes, addresses, buffer, key_of, store_all, wrong_bytes
from kvasir_bench.records import Goal, Record, at_least, record

KIB = 1024
DRAM_BYTES = 2048 * MIB
REFERENCE = "memcpy of the same objects in the same order, from the same mapping to the same destination, one thread"


@dataclass(frozen=True)
class LoadCase:
    """One load benchmark: how many objects of which size in a request, out of how many that are there."""

    id: str
    object_bytes: int
    objects: int
    stored: int
    calls: int
    goal: Goal


LOADS = (
    LoadCase("engine.load.1m.64", MIB, 64, 1024, 20, at_least(0.9)),
    LoadCase("engine.load.1m.512", MIB, 512, 1024, 5, at_least(0.9)),
    LoadCase("engine.load.64k.512", 64 * KIB, 512, 8192, 30, at_least(0.75)),
)
STORE_OBJECTS = 64
STORE_CALLS = 20


def run(context: Context) -> Generator[Record, None, None]:
    """A node without SSD for each object size, so that nothing but memory is measured."""
    for object_bytes in dict.fromkeys(case.object_bytes for case in LOADS):
        node = Node(
            context.home,
            context.directory / f"engine-{object_bytes}",
            context.shared_memory / f"engine-{object_bytes}",
            {"dram": {"capacity": f"{DRAM_BYTES // MIB}MiB"}, "ssd": {"capacity": 0}},
        )
        with closing(node):
            node.start()
            with node.client(deadline=30.0) as client:
                for case in (case for case in LOADS if case.object_bytes == object_bytes):
                    context.say(f"{case.id}: {context.runs} runs of {case.calls} calls")
                    yield from context.part(case.id, _load, client, case)
                if object_bytes == MIB:
                    context.say(f"engine.store.1m.64: {context.runs} runs of {STORE_CALLS} calls")
                    yield from context.part("engine.store.1m.64", _store, client)


def _load(context: Context, client: Client, case: LoadCase) -> Record:
    content = Content(case.object_bytes)
    keys = [key_of(f"load {case.object_bytes}", index) for index in range(case.stored)]
    if client.lookup(keys, peek=True).hit_chunks < len(keys):
        store_all(client, keys, content)
    destination = buffer(case.objects, case.object_bytes)
    shuffler = random.Random(context.seed)
    whole: list[float] = []
    bare: list[float] = []
    for turn in range(context.runs + 1):
        seconds: tuple[list[float], list[float]] = [], []
        for call in range(case.calls):
            chosen = shuffler.sample(keys, case.objects)
            others = shuffler.sample(keys, case.objects)
            for side in ((0, 1), (1, 0))[call % 2]:
                _memcpy(client, others, destination)
                timed = _whole_load(client, chosen, destination) if side == 0 else _memcpy(client, chosen, destination)
                seconds[side].append(timed)
                if side == 0 and (turn == 0 or call == 0):
                    wrong = wrong_bytes(chosen, destination, content)
                    if wrong:
                        raise RuntimeError(f"{case.id}: {wrong} wrong bytes")
        if turn:  # round 0 warms both sides up
            whole.append(_gigabytes_per_second(case.object_bytes * case.objects, seconds[0]))
            bare.append(_gigabytes_per_second(case.object_bytes * case.objects, seconds[1]))
    size = f"{case.object_bytes // KIB} KiB" if case.object_bytes < MIB else "1 MiB"
    name = f"load of {case.objects} objects of {size} in random order, lookup + load + release"
    return record(case.id, name, "GB/s", whole, REFERENCE, bare, case.goal, calls_per_run=case.calls, threads=1)


def _whole_load(client: Client, keys: Sequence[bytes], destination: Bytes) -> float:
    packed = b"".join(keys)
    begin = time.perf_counter()
    lease = client.lookup(packed)
    result = client.load(lease, destination)
    lease.release()
    seconds = time.perf_counter() - begin
    assert result.leading_chunks == len(keys), f"{result.leading_chunks} of {len(keys)} objects were loaded"
    return seconds


def _memcpy(client: Client, keys: Sequence[bytes], destination: Bytes) -> float:
    with client.lookup(b"".join(keys)) as lease:
        sources, pin = addresses(client, lease)
        base, size = destination.ctypes.data, destination.shape[1]
        targets = [base + row * size for row in range(len(keys))]
        begin = time.perf_counter()
        for source, target in zip(sources, targets, strict=True):
            copy(target, source, size)
        seconds = time.perf_counter() - begin
        client.attachment.mapped.unpin(pin)
        return seconds


def _store(context: Context, client: Client) -> Record:
    """Steady state: DRAM is full, so every reserve evicts, and every slot has been written before."""
    content = Content(MIB)
    serial = 0
    sources = buffer(STORE_OBJECTS, MIB)
    for row in range(STORE_OBJECTS):
        content.write(key_of("store source", row), sources[row])

    def fresh() -> list[bytes]:
        nonlocal serial
        serial += STORE_OBJECTS
        return [key_of("store", serial + row) for row in range(STORE_OBJECTS)]

    for _ in range(2 * DRAM_BYTES // (STORE_OBJECTS * MIB)):
        _whole_store(client, fresh(), sources)
    whole: list[float] = []
    bare: list[float] = []
    for _ in range(context.runs):
        seconds: tuple[list[float], list[float]] = [], []
        for call in range(STORE_CALLS):
            for side in ((0, 1), (1, 0))[call % 2]:
                keys = fresh()
                timed = _whole_store(client, keys, sources) if side == 0 else _bare_store(client, keys, sources)
                seconds[side].append(timed)
        whole.append(_gigabytes_per_second(STORE_OBJECTS * MIB, seconds[0]))
        bare.append(_gigabytes_per_second(STORE_OBJECTS * MIB, seconds[1]))
    return record(
        "engine.store.1m.64",
        f"store of {STORE_OBJECTS} objects of 1 MiB into full DRAM, reserve (evicts) + copy + commit",
        "GB/s",
        whole,
        "memcpy of the same objects into slots that were reserved in the same way, the copies alone, one thread",
        bare,
        at_least(0.8),
        calls_per_run=STORE_CALLS,
        threads=1,
    )


def _whole_store(client: Client, keys: Sequence[bytes], sources: Bytes) -> float:
    packed = b"".join(keys)
    begin = time.perf_counter()
    done = client.store(packed, sources, wait=5.0)
    seconds = time.perf_counter() - begin
    assert done.committed == len(keys), f"{done.committed} of {len(keys)} objects were stored: {done.statuses}"
    return seconds


def _bare_store(client: Client, keys: Sequence[bytes], sources: Bytes) -> float:
    """A store whose copies are the bare loop; only they are timed."""
    end = Deadline.after(30.0)
    call = StoreCall(
        b"".join(keys), sources, end, shard=0, parents=None, chunk_index=None, crc32c=False,
        block_hashes=None, priority=0, ttl=0.0, wait=5.0,
    )  # fmt: skip
    attachment = client.attachment
    answer = attachment.wire.call(call.reserve_request(next(iter(attachment.handles.values()))), end).reserve
    call.take(attachment, answer)
    assert call.has_slots()
    assert (call.statuses == SlotStatus.GRANTED).all(), f"not every slot was granted: {call.statuses}"
    attachment.mapped.add(answer.regions)
    slots = call._slots
    pin = attachment.mapped.pin(slots, write=True)
    try:
        targets = pin.address.tolist()
        begin_at, size = sources.ctypes.data, sources.shape[1]
        origins = [begin_at + row * size for row in range(len(keys))]
        begin = time.perf_counter()
        for target, origin in zip(targets, origins, strict=True):
            copy(target, origin, size)
        seconds = time.perf_counter() - begin
    finally:
        attachment.mapped.unpin(pin)
    commit = call.commit_request()
    assert commit is not None
    call.committed(attachment.wire.call(commit, end).commit)
    return seconds


def _gigabytes_per_second(size: int, seconds: Sequence[float]) -> float:
    """Of the median call."""
    ordered = sorted(seconds)
    return size / ordered[len(ordered) // 2] / 1e9
