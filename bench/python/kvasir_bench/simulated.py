"""The simulated part of the suite ``cluster``: what ``kvasir simulate`` finds on the two traces of this package."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from kvasir_ops.simulate import outcomes

from kvasir_bench.context import Context
from kvasir_bench.records import Record, at_least, at_most, record

TRACES = ("conversation", "synthetic")
CAPACITIES = {1_000: "1k", 5_000: "5k", 30_000: "30k"}
NODES = 10
NODE_CAPACITY = 5_859
SCALE_CAPACITY = 500
SCALE_REQUESTS = 1_000
POOLED_SHARE = 0.98
FLAT = 1.1
_FIELDS = ("trace", "nodes", "capacity", "policy", "routing", "sharing")


def run(context: Context) -> Generator[Record, None, None]:
    """Policies, pooling and scale; deterministic for a seed, so each is simulated once."""
    seed = ("--seed", str(context.seed % (1 << 31)))
    for trace in TRACES:
        yield from context.part(f"cluster.sim of the {trace} trace", _trace, trace, _file(context, trace), seed)
    yield from context.part("cluster.sim.scale", _scale, seed)


def _file(context: Context, trace: str) -> Path:
    return context.home / "ops" / "python" / "kvasir_ops" / "data" / f"{trace}_trace.jsonl.gz"


def _trace(context: Context, trace: str, file: Path, seed: tuple[str, str]) -> Generator[Record, None, None]:
    context.say(f"cluster.sim: {trace}, one node by policy and capacity")
    total = NODES * NODE_CAPACITY
    capacities = ",".join(map(str, (0, total, *CAPACITIES)))
    single = {
        (one["capacity"], one["policy"]): one
        for one in outcomes(context.home, str(file), "--capacity", capacities, *seed)
    }
    endless = single[0, "lru"]
    for capacity, short in CAPACITIES.items():
        ours, lru = single[capacity, "cost_aware"], single[capacity, "lru"]
        yield record(
            f"cluster.sim.policy.{trace}.{short}",
            f"{trace} trace, one node of {capacity:,} chunks: hit rate of the cost-aware policy",
            "",
            [ours["hitRate"]],
            "LRU, same run",
            [lru["hitRate"]],
            at_least(1.0),
            endless=endless["hitRate"],
            s3_fifo=single[capacity, "s3_fifo"]["hitRate"],
            time_saved=ours["timeSaved"],
        )
    context.say(f"cluster.sim: {trace}, {NODES} nodes")
    cluster = outcomes(
        context.home, str(file), "--nodes", str(NODES), "--capacity", str(NODE_CAPACITY),
        "--policy", "lru,cost_aware", "--sharing", "local,pooled,ideal", *seed,
    )  # fmt: skip
    found = {(one["sharing"], one["policy"]): one for one in cluster}
    pooled = single[total, "lru"]
    for policy, goal in (("lru", POOLED_SHARE), ("cost_aware", 1.0)):
        one = found["pooled", policy]
        yield record(
            f"cluster.sim.pooled.{trace}.{policy}",
            f"{trace} trace, {NODES} nodes of {NODE_CAPACITY:,} chunks, random routing, {policy}: hit rate",
            "",
            [one["hitRate"]],
            f"one node of {total:,} chunks, LRU, same run",
            [pooled["hitRate"]],
            at_least(goal),
            local_only=found["local", policy]["hitRate"],
            ideal_directory=found["ideal", policy]["hitRate"],
            endless=endless["hitRate"],
            pulled=one["pulled"] / one["chunks"],
        )


def _scale(context: Context, seed: tuple[str, str]) -> Generator[Record, None, None]:
    found: dict[int, dict[str, Any]] = {}
    for nodes in (10, 100, 1_000):
        context.say(f"cluster.sim: {nodes} nodes, a copy of the trace for each ten")
        (found[nodes],) = outcomes(
            context.home, str(_file(context, "conversation")), "--requests", str(SCALE_REQUESTS),
            "--nodes", str(nodes), "--copies", "0", "--capacity", str(SCALE_CAPACITY), "--policy", "cost_aware", *seed,
        )  # fmt: skip
    for id, name, unit, what in (
        ("lookup", "directory entries read for a lookup", "entries", "entriesPerLookup"),
        ("traffic", "directory reads and updates that a node answers", "1/s", "directoryPerNode"),
    ):
        yield record(
            f"cluster.sim.scale.{id}",
            f"{name}, 1,000 nodes",
            unit,
            [found[1_000][what]],
            "10 nodes, same load for each node, same run",
            [found[10][what]],
            at_most(FLAT),
            at_100_nodes=found[100][what],
        )
    yield record(
        "cluster.sim.scale.entries",
        "directory entries read for a lookup, an entry covering up to 32 chunks, 1,000 nodes",
        "entries",
        [found[1_000]["entriesPerLookup"]],
        "chunks asked for: one entry for each chunk",
        [found[1_000]["chunksPerLookup"]],
        at_most(1.0),
        records_per_chunk=found[1_000]["recordsPerChunk"],
        bytes_per_chunk=found[1_000]["directoryBytesPerChunk"],
    )
