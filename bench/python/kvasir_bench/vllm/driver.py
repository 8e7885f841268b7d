"""Runs inside an environment with vLLM: one kind of measurement, answers as JSON lines on standard output.

    python driver.py scheduler|bandwidth|engine ARGUMENTS_AS_JSON

``scheduler`` and ``bandwidth`` measure once and end. ``engine`` serves: it starts an engine, and measures a round for
each line on its standard input; the engine's own prefix cache is emptied after each, unless ``forget`` is false.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOOKS = (
    "on_new_request",
    "get_num_new_matched_tokens",
    "update_state_after_alloc",
    "build_connector_meta",
    "update_connector_output",
    "request_finished_all_groups",
    "take_events",
    "has_pending_push_work",
    "get_kv_connector_stats",
)
"""What vLLM's scheduler calls on a connector in a step."""


def tokens(count: int, seed: object, vocabulary: int = 1000) -> list[int]:
    """Random token ids."""
    chosen = random.Random(str(seed))
    return [chosen.randrange(3, vocabulary) for _ in range(count)]


def measure_scheduler(given: dict[str, Any]) -> dict[str, Any]:
    """The connector's own time, and vLLM's, in every step of requests whose prompt is in DRAM.

    Own time is taken twice: on the clock, and as processor time of the scheduler's thread, which does not pass while
    another thread has the interpreter or another process the processor.
    """
    from stepping import Harness

    harness = Harness(Path(given["model"]), given["socket"], blocks=600, extra={"chunk_tokens": 256})
    connector = harness.connector
    spent = {name: _Spent() for name in HOOKS}
    for name, times in spent.items():
        setattr(connector, name, _timed(getattr(connector, name), times))
    own: list[float] = []
    own_cpu: list[float] = []
    whole: list[float] = []
    hooks: dict[str, dict[str, list[float]]] = {name: {"wall": [], "cpu": []} for name in HOOKS}
    requests, length = given["requests"], given["tokens"]

    def run(name: str, seed: str, steps: bool) -> None:
        harness.add(name, tokens(length, seed), 4)
        while harness.scheduler.has_requests():
            began = time.perf_counter()
            harness.step()
            passed = (time.perf_counter() - began) * 1e6
            if steps:
                own.append(sum(times.wall for times in spent.values()) * 1e6)
                own_cpu.append(sum(times.cpu for times in spent.values()) * 1e6)
                whole.append(passed - own[-1])
            for hook, times in spent.items():
                if steps and times.wall:
                    hooks[hook]["wall"].append(times.wall * 1e6)
                    hooks[hook]["cpu"].append(times.cpu * 1e6)
                times.wall = times.cpu = 0.0

    for number in range(given["prompts"]):
        run(f"cold {number}", f"prompt {number}", False)
        harness.forget()
    offered = connector._scheduler.offered_tokens
    for number in range(requests):
        run(f"warm {number}", f"prompt {number % given['prompts']}", True)
        harness.forget()
    loaded = connector._scheduler.offered_tokens - offered
    harness.close()
    return {
        "own_us": own, "own_cpu_us": own_cpu, "rest_us": whole, "hooks": hooks,
        "loaded": loaded, "wanted": requests * (length // 256) * 256,
    }  # fmt: skip


@dataclass
class _Spent:
    """Seconds of one hook in this step."""

    wall: float = 0.0
    cpu: float = 0.0


def _timed(inner: Callable[..., Any], spent: _Spent) -> Callable[..., Any]:
    def timed(*arguments: Any) -> Any:
        began, busy = time.perf_counter(), time.thread_time()
        try:
            return inner(*arguments)
        finally:
            spent.cpu += time.thread_time() - busy
            spent.wall += time.perf_counter() - began

    return timed


def measure_bandwidth(given: dict[str, Any]) -> dict[str, Any]:
    """Loads of whole prompts by a worker, and memcpy of the same pieces; GB/s of each, in turn."""
    import numpy as np
    import torch
    from engines import settings

    settings()
    from kvasir import Client, Namespace, Shard
    from kvasir._copy import Copier
    from kvasir.deadline import Deadline
    from kvasir_vllm.scheduler.lookups import namespace_fields
    from kvasir_vllm.shared.chunks import Chunking
    from kvasir_vllm.shared.metadata import LoadOrder, StoreOrder, Ticket
    from kvasir_vllm.shared.options import ConnectorOptions
    from kvasir_vllm.worker.layout import GroupPages, Layout, Strip
    from kvasir_vllm.worker.side import WorkerSide

    # As the CPU backend has it: blocks of 128 tokens, and for each layer a page of 64 KiB.
    block, layers, page = 128, 32, 64 << 10
    chunking = Chunking(256, block, (block,))
    count = given["tokens"] // block
    pages = torch.zeros((layers, 2 * count, page), dtype=torch.uint8).numpy()
    pages[:] = np.random.default_rng(1).integers(0, 256, page, dtype=np.uint8)
    strips = [Strip(pages[layer].ctypes.data, page, page) for layer in range(layers)]
    layout = Layout([GroupPages(strips, chunking.blocks_in_chunk(0))], chunking)
    namespace = Namespace("bandwidth", 256, layout="bandwidth")
    owner = Client.connect(given["socket"], namespace=namespace, shards=[Shard()])
    ticket = Ticket(owner.session, owner.secret, namespace_fields(namespace))
    worker = WorkerSide(ConnectorOptions(socket=given["socket"]), layout, [0], True, "bandwidth")
    chunks = given["tokens"] // 256
    keys = random.Random(2).randbytes(32 * chunks)
    table = random.Random(3).sample(range(1, 2 * count), count)
    stored = StoreOrder(1, keys, bytes(32) + keys[:-32], 0, (table,), "", ticket)
    if not worker._store_now(stored, Deadline.after(60), None):
        raise SystemExit("the chunks could not be stored")
    # memcpy of the very same pieces, out of memory that holds them in the same order.
    source = torch.ones(pages.shape[0] * page * count, dtype=torch.uint8).numpy()
    pieces = layout.load_pieces(0, 0, [table])
    begins = np.cumsum(pieces.length) - pieces.length + np.uint64(source.ctypes.data)
    copier = Copier()
    total = source.nbytes
    result: dict[str, list[float]] = {"load": [], "memcpy": []}
    for turn in range(given["runs"] + 1):
        with owner.lookup(keys) as lease:
            if lease.hit_chunks != chunks:
                raise SystemExit(f"{lease.hit_chunks} of {chunks} chunks are there")
            order = LoadOrder("r", lease.id, 0, 0, given["tokens"], (table,), ticket)
            began = time.perf_counter()
            bad = worker._load_now(order, Deadline.after(60), None)
            load = time.perf_counter() - began
            if bad:
                raise SystemExit(f"{len(bad)} blocks were not loaded")
        began = time.perf_counter()
        copier.run(begins, pieces.address, pieces.length, Deadline.after(60), lambda: False)
        plain = time.perf_counter() - began
        if turn:
            result["load"].append(total / load / 1e9)
            result["memcpy"].append(total / plain / 1e9)
    worker.close()
    owner.close()
    return {**result, "bytes": total, "piece_bytes": page}


def serve_engine(given: dict[str, Any], answer: Callable[[Any], None]) -> None:
    """An engine, asked for rounds: fresh prompts (``cold``), or the last round's prompts again (``warm``)."""
    import engines

    llm = engines.start(Path(given["model"]), given["kv"], **given["options"])
    core = llm.llm_engine.engine_core.engine_core
    connector = core.scheduler.connector

    def drain() -> None:
        end = time.monotonic() + 20
        while connector is not None and connector.has_pending_push_work() and time.monotonic() < end:
            llm.llm_engine.step()

    answer(True)
    for line in sys.stdin:
        asked = json.loads(line)
        prompts = [tokens(asked["length"], seed) for seed in asked["seeds"]]
        busy, began = time.process_time(), time.perf_counter()
        seconds, cached = [], []
        for prompt in prompts:
            start = time.perf_counter()
            output = engines.generate(llm, [prompt], asked["generated"])[0]
            seconds.append(time.perf_counter() - start)
            cached.append(output.num_cached_tokens)
        drain()
        passed = time.perf_counter() - began
        found = {"seconds": seconds, "cached": cached, "busy": time.process_time() - busy, "passed": passed}
        for _ in range(200 if asked.get("forget", True) else 0):
            if llm.reset_prefix_cache():
                break
            time.sleep(0.01)
        answer(found)


def main() -> None:
    """See the module."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(value: Any) -> None:
        answers.write(json.dumps(value) + "\n")

    kind, given = sys.argv[1], json.loads(sys.argv[2])
    if kind == "scheduler":
        answer(measure_scheduler(given))
    elif kind == "bandwidth":
        answer(measure_bandwidth(given))
    else:
        serve_engine(given, answer)


if __name__ == "__main__":
    main()
