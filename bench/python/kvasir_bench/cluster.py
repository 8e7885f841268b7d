"""The suite ``cluster``: real nodes as one cache: the link, a pool's hit rate, a killed holder, a healed split.

Everything runs on this machine: nodes on loopback, or in network namespaces where a network has to fail.
"""

from __future__ import annotations

import statistics
import time
from collections import OrderedDict
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from pathlib import Path

from kvasir_ops.lab.network import Network, unavailable
from kvasir_ops.lab.nodes import Nodes, NodeSettings
from kvasir_ops.lab.pool import PoolProbe
from kvasir_ops.lab.run import ONE_BOUND_SECONDS, Lab, LabPlan
from kvasir_ops.replay.display import PlainDisplay, Scene
from kvasir_ops.replay.tally import Tally
from kvasir_ops.replay.trace import TraceRequest, read_trace

from kvasir_bench import directory, link, simulated
from kvasir_bench.context import Context
from kvasir_bench.holder_death import HolderDeath, Trial
from kvasir_bench.records import Record, at_least, at_most, record

KIB = 1024
MIB = 1024 * KIB

# A node holds fewer blocks than the trace has, and all nodes together still do.
NODES = ("node-1", "node-2", "node-3")
BLOCKS = 4096
BLOCK_BYTES = 16 * KIB
REQUESTS = 1000
# So fast that the replay takes seconds; the order of requests is what counts here.
COMPUTE_TOKENS_PER_S = 4_000_000

TRIALS_FOR_EACH_KILL = 5
HITS_WITH_SECOND_HOLDER = 0.95
SPLIT_FAILURE_SECONDS = 2.0
SPLIT_SECONDS = 6.0
HEAL_LIMIT_SECONDS = 30.0


def run(context: Context) -> Generator[Record, None, None]:
    """The suite; a generator, closed by its caller."""
    yield from context.part("cluster.link", link.run)
    yield from context.part("cluster.directory", directory.run)
    yield from context.part("cluster.sim", simulated.run)
    yield from context.part("cluster.trace", _trace)
    yield from context.part("cluster.holder_death", _holder_death)
    reason = unavailable()
    if reason:
        context.skip("cluster.split", reason)
    else:
        yield from context.part("cluster.split", _split)


# ---- the pool's hit rate


def _trace(context: Context) -> Generator[Record, None, None]:
    requests = read_trace(REQUESTS)
    pooled_limit = lru_hit_rate(requests, len(NODES) * BLOCKS)
    pooled = [_replay(context, requests, pooled=True) for _ in range(_few(context))]
    alone = [_replay(context, requests, pooled=False) for _ in range(_few(context))]
    yield record(
        "cluster.trace.pooled",
        f"hit rate of {len(NODES)} nodes of {BLOCKS:,} blocks as one cache, first free engine serves",
        "",
        pooled,
        f"one LRU of {len(NODES) * BLOCKS:,} blocks, simulated",
        [pooled_limit],
        at_least(0.98),
        requests=len(requests),
    )
    yield record(
        "cluster.trace.gain",
        "hit rate of the pool, beside the same nodes alone",
        "",
        pooled,
        "the same nodes, each alone",
        alone,
        at_least(1.0),
        requests=len(requests),
    )


def _few(context: Context) -> int:
    """Replays take long, and vary little."""
    return min(context.runs, 2)


def _replay(context: Context, requests: list[TraceRequest], pooled: bool) -> float:
    settings = NodeSettings(dram_bytes=BLOCKS * BLOCK_BYTES, ssd_bytes=0, pooled=pooled)
    plan = LabPlan(
        home=context.home,
        requests=requests,
        object_bytes=BLOCK_BYTES,
        names=NODES,
        settings=settings,
        faults=(),
        seed=context.seed,
        compute_tokens_per_s=COMPUTE_TOKENS_PER_S,
        shared_memory=context.shared_memory,
        state=context.directory,
        network=False,
        checked=False,
    )
    scene = Scene(Tally(requests, BLOCK_BYTES))
    summary = Lab(plan, scene, _Quiet()).run()
    if summary.wrong_bytes or summary.hangs:
        raise RuntimeError(f"{summary.wrong_bytes} wrong bytes, {summary.hangs} calls past their deadline")
    context.say(
        f"{'one cache' if pooled else 'each node alone'}: hit rate {summary.hit_rate:.4f}, by tier {dict(summary.hits)}"
    )
    return summary.hit_rate


def lru_hit_rate(requests: Sequence[TraceRequest], blocks: int) -> float:
    """Share of the blocks asked for that one LRU cache of ``blocks`` blocks has, as the beginning of their prompt."""
    cache: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for request in requests:
        for chunk in request.chunk_ids:
            if chunk not in cache:
                break
            hits += 1
        for chunk in request.chunk_ids:
            cache[chunk] = None
            cache.move_to_end(chunk)
        while len(cache) > blocks:
            cache.popitem(last=False)
    return hits / sum(len(request.chunk_ids) for request in requests)


# ---- a holder dies


def _holder_death(context: Context) -> Generator[Record, None, None]:
    wanted = TRIALS_FOR_EACH_KILL * context.kills
    trials: list[Trial] = []
    with HolderDeath(context.home, context.directory, context.shared_memory, context.seed) as deaths:
        deaths.start()
        while len(trials) < wanted:
            trials.append(deaths.trial())
            if len(trials) % 10 == 0:
                hits = sum(trial.is_hit for trial in trials)
                context.say(f"{len(trials)} of {wanted} holders killed in mid-transfer; {hits} pulls came to their end")
        detail = {
            "trials": wanted,
            "calls_outside_a_transfer": deaths.missed,
            "median_seconds": round(statistics.median(trial.seconds for trial in trials), 4),
            "longest_seconds": round(max(trial.seconds for trial in trials), 4),
            "undisturbed_seconds": round(deaths.undisturbed_seconds, 4),
        }
    yield record(
        "cluster.holder_death.within_deadline",
        "a holder is killed in mid-transfer: answers within the deadline, all bytes or a miss",
        "",
        [sum(trial.is_in_time for trial in trials)],
        "trials",
        [wanted],
        at_least(1.0),
        **detail,
    )
    yield record(
        "cluster.holder_death.hits",
        "a holder is killed in mid-transfer, another one has the objects: hits within the deadline",
        "",
        [sum(trial.is_hit for trial in trials)],
        "trials",
        [wanted],
        at_least(HITS_WITH_SECOND_HOLDER),
        **detail,
    )
    yield record(
        "cluster.holder_death.false_hits",
        "chunks that were answered as hits after their only holder's death, or that could not be loaded",
        "chunks",
        [sum(trial.false_hits for trial in trials)],
        "chunks asked for after the death",
        [sum(trial.asked_after for trial in trials)],
        at_most(0.0, 0.0),
        **detail,
    )
    yield record(
        "cluster.holder_death.wrong",
        "wrong bytes in what was loaded around a holder's death",
        "bytes",
        [sum(trial.wrong_bytes for trial in trials)],
        "bytes loaded",
        [sum(trial.loaded_bytes for trial in trials)],
        at_most(0.0, 0.0),
        **detail,
    )


# ---- a split heals


def _split(context: Context) -> Generator[Record, None, None]:
    seconds = []
    with ExitStack() as stack:
        network = stack.enter_context(Network(NODES, seed=context.seed))
        settings = NodeSettings(
            dram_bytes=64 * MIB,
            ssd_bytes=0,
            failure_timeout_seconds=SPLIT_FAILURE_SECONDS,
        )
        shared_memory, state = (_directory(parent, "split") for parent in (context.shared_memory, context.directory))
        nodes = stack.enter_context(Nodes(context.home, NODES, settings, shared_memory, state, network))
        nodes.start(*NODES)
        pool = stack.enter_context(PoolProbe({name: nodes.socket(name) for name in NODES}, BLOCK_BYTES))
        if pool.seconds_until_one(ONE_BOUND_SECONDS) is None:
            raise RuntimeError("the nodes did not become one cache at the start")
        for number in range(context.runs):
            network.partition([NODES[number % len(NODES)]])
            time.sleep(SPLIT_SECONDS)
            network.heal()
            took = pool.seconds_until_one(2 * ONE_BOUND_SECONDS)
            if took is None:
                raise RuntimeError("the nodes did not become one cache again after a split")
            context.say(f"split for {SPLIT_SECONDS:.0f} s, then one cache again after {took:.2f} s")
            seconds.append(took)
    yield record(
        "cluster.split.heal",
        "from the end of a partition until every node's new object is loaded at every other node",
        "s",
        seconds,
        "failure timeout of these nodes",
        [SPLIT_FAILURE_SECONDS],
        at_most(0.0, HEAL_LIMIT_SECONDS),
        split_seconds=SPLIT_SECONDS,
    )


def _directory(parent: Path, name: str) -> Path:
    made = parent / name
    made.mkdir()
    return made


class _Quiet(PlainDisplay):
    """A display that says nothing: the suite has its own words."""

    def __init__(self) -> None:
        return

    def refresh(self) -> None:
        """Nothing."""

    def event(self, text: str) -> None:
        """Nothing."""
