"""What the demo says at the end, with its arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from rich.table import Table

from kvasir_ops.replay.display import GB
from kvasir_ops.replay.tally import TIERS, Tally
from kvasir_ops.tables import table_of


@dataclass(frozen=True)
class Restart:
    """What ``kill -9`` cost: looked at from outside, over the engine API.

    ``checked`` objects were acknowledged as committed before the kill. Of those that the started node does not have,
    ``evicted`` had given way for room, as the node's events said, and the rest is ``lost``.
    ``first_hit_seconds`` is the time from the start of the new process to the first object, by tier, that was loaded
    and had the right bytes.
    """

    checked: int
    evicted: int
    lost: int
    first_hit_seconds: Mapping[str, float]
    in_dram: int
    on_ssd: int


@dataclass(frozen=True)
class Join:
    """A node that joined while the others worked: seconds from the start of its process until it answered, and until it
    gave its first hit, which only other nodes had; None when it gave none.
    """

    answers_seconds: float
    first_hit_seconds: float | None


@dataclass(frozen=True)
class Summary:
    """The figures at the end; :meth:`as_json` is what ``--json`` writes."""

    requests: int
    nodes: Mapping[str, Mapping[str, float]]
    chunks: int
    object_bytes: int
    dram_bytes: int
    ssd_bytes: int
    seconds: float
    hits: Mapping[str, int]
    hit_rate: float
    local_only_hits: int
    local_only_hit_rate: float
    endless_cache_hits: int
    stored_by_other: int
    bytes_verified: int
    wrong_bytes: int
    load_bytes_per_s: float
    store_bytes_per_s: float
    tokens: int
    tokens_not_recomputed: int
    requests_without_tier: int
    objects_acknowledged: int
    objects_evicted_before: int
    objects_lost: int
    restart_first_hit_seconds: Mapping[str, float]
    join_answers_seconds: float
    join_first_hit_seconds: float | None
    hangs: int
    longest_call_seconds: float
    prefill_tokens_per_s: float
    prefill_seconds_without: float
    prefill_seconds_with: float
    tier_seconds: float
    problems: tuple[str, ...]

    @property
    def saved_seconds(self) -> float:
        """Prefill time not spent, less the time spent in calls to the tier."""
        return self.prefill_seconds_without - self.prefill_seconds_with - self.tier_seconds

    @property
    def failures(self) -> list[str]:
        """Why the run does not count as good; empty when it does."""
        wrong = {
            f"{self.wrong_bytes} wrong bytes": self.wrong_bytes > 0,
            f"{self.objects_lost} objects lost": self.objects_lost > 0,
            "no hit at all": sum(self.hits.values()) == 0,
            "nothing was acknowledged before the kill": self.objects_acknowledged == 0,
            "no hit after the restart": not self.restart_first_hit_seconds,
            "no hit from another node": not self.hits.get("remote"),
            "no hit at the node that joined": self.join_first_hit_seconds is None,
            "no more hits than the nodes alone would have": sum(self.hits.values()) <= self.local_only_hits,
            f"{self.hangs} calls came back later than their deadline": self.hangs > 0,
        }
        return [reason for reason, holds in wrong.items() if holds]

    def as_json(self) -> dict[str, object]:
        """All figures, in bytes, seconds and counts."""
        return {**asdict(self), "saved_seconds": self.saved_seconds, "failures": self.failures}


def summarise(
    tally: Tally,
    restart: Restart,
    join: Join,
    *,
    dram_bytes: int,
    ssd_bytes: int,
    seconds: float,
    endless_hits: int,
    prefill_tokens_per_s: float,
) -> Summary:
    """The summary of a finished run."""
    return Summary(
        requests=tally.done,
        nodes={
            name: {"requests": node.requests, "hit_rate": node.hit_rate, "remote_hits": node.remote_hits}
            for name, node in sorted(tally.nodes.items())
        },
        chunks=tally.chunks,
        object_bytes=tally.object_bytes,
        dram_bytes=dram_bytes,
        ssd_bytes=ssd_bytes,
        seconds=seconds,
        hits=dict(tally.hits),
        hit_rate=tally.hit_rate,
        local_only_hits=tally.local_only.hits,
        local_only_hit_rate=tally.local_only_hit_rate,
        endless_cache_hits=endless_hits,
        stored_by_other=tally.stored_by_other,
        bytes_verified=tally.verified_bytes,
        wrong_bytes=tally.wrong_bytes,
        load_bytes_per_s=tally.load_bytes_per_s,
        store_bytes_per_s=tally.store_bytes_per_s,
        tokens=tally.tokens,
        tokens_not_recomputed=tally.tokens_not_recomputed,
        requests_without_tier=tally.without_tier,
        objects_acknowledged=restart.checked,
        objects_evicted_before=restart.evicted,
        objects_lost=restart.lost,
        restart_first_hit_seconds=dict(restart.first_hit_seconds),
        join_answers_seconds=join.answers_seconds,
        join_first_hit_seconds=join.first_hit_seconds,
        hangs=tally.late_calls,
        longest_call_seconds=tally.longest_call_seconds,
        prefill_tokens_per_s=prefill_tokens_per_s,
        prefill_seconds_without=tally.tokens / prefill_tokens_per_s,
        prefill_seconds_with=(tally.tokens - tally.tokens_not_recomputed) / prefill_tokens_per_s,
        tier_seconds=tally.tier_seconds,
        problems=tuple(tally.problems),
    )


def summary_table(summary: Summary) -> Table:
    """The figures: of the pool, of the same nodes if each were alone, and without a cache."""
    reachable = sum(summary.hits.values()) / summary.endless_cache_hits if summary.endless_cache_hits else 0.0
    restart = ", ".join(
        f"{tier.upper()} {seconds:.1f} s" for tier, seconds in summary.restart_first_hit_seconds.items()
    )
    speed = f"{summary.prefill_tokens_per_s:,.0f} tokens/s"
    prefill = summary.prefill_seconds_with
    alone = summary.local_only_hits / summary.endless_cache_hits if summary.endless_cache_hits else 0.0
    joined = "none" if summary.join_first_hit_seconds is None else f"{summary.join_first_hit_seconds:.2f} s"
    spared = summary.tokens_not_recomputed / summary.tokens if summary.tokens else 0.0
    tiers = " / ".join(f"{summary.hits.get(tier, 0):,}" for tier in TIERS)
    rows: list[tuple[str, ...]] = [
        ("chunks that were hits", f"{sum(summary.hits.values()):,} ({summary.hit_rate:.1%})",
         f"{summary.local_only_hits:,} ({summary.local_only_hit_rate:.1%})", "0"),
        ("  DRAM / SSD / other nodes", tiers),
        ("  of an endless cache's hits", f"{reachable:.0%}", f"{alone:.0%}", "0%"),
        ("tokens not recomputed", f"{summary.tokens_not_recomputed:,} ({spared:.1%})", "", "0"),
        (f"prefill at {speed}", f"{prefill:,.0f} s", "", f"{summary.prefill_seconds_without:,.0f} s"),
        ("  time in calls to Kvasir", f"{summary.tier_seconds:.1f} s"),
        ("  saved", f"{summary.saved_seconds:,.0f} s"),
        ("load, store in GB/s", f"{summary.load_bytes_per_s / GB:.2f}, {summary.store_bytes_per_s / GB:.2f}"),
        ("bytes verified", f"{summary.bytes_verified:,}"),
        ("join: first hit from others", joined),
        ("kill -9: requests without it", f"{summary.requests_without_tier}"),
        ("  back, first hit", restart or "none"),
        ("  objects looked for", f"{summary.objects_acknowledged:,}"),
        ("    evicted before it", f"{summary.objects_evicted_before:,}"),
        ("    lost", f"{summary.objects_lost:,}"),
    ]  # fmt: skip
    title = (
        f"{summary.requests:,} requests, {summary.chunks:,} chunks of {summary.object_bytes // 1024} KiB "
        f"(512 tokens each), {summary.seconds:.0f} s"
    )
    return table_of(title, ("", "pooled", "each alone", "no cache"), rows)
