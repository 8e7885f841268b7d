"""What the lab says at the end, and what makes a run count as failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from rich.table import Table

from kvasir_ops.lab.injector import Injected
from kvasir_ops.replay.display import hits_by_tier
from kvasir_ops.replay.tally import Tally
from kvasir_ops.tables import table_of


@dataclass(frozen=True)
class Checked:
    """The objects that nodes had acknowledged as committed, looked at when everything had healed.

    ``removed``: gone, and the node had said so in its events (for room, or since its bytes did not fit their checksum).
    ``lost``: gone without a word. ``wrong_bytes`` of those that were loaded.
    """

    objects: int = 0
    loaded: int = 0
    removed: int = 0
    lost: int = 0
    wrong_bytes: int = 0

    def __add__(self, other: Checked) -> Checked:
        return Checked(
            self.objects + other.objects,
            self.loaded + other.loaded,
            self.removed + other.removed,
            self.lost + other.lost,
            self.wrong_bytes + other.wrong_bytes,
        )


@dataclass(frozen=True)
class LabSummary:
    """The figures of one run; :meth:`as_json` is what ``--json`` writes."""

    seed: int
    nodes: int
    pooled: bool
    network: bool
    requests: int
    chunks: int
    object_bytes: int
    seconds: float
    hits: Mapping[str, int]
    hit_rate: float
    local_only_hit_rate: float
    bytes_verified: int
    wrong_bytes: int
    objects_checked: int
    objects_removed: int
    objects_lost: int
    unkept: int
    hangs: int
    longest_call_seconds: float
    requests_without_tier: int
    became_one_seconds: float | None
    faults: tuple[Mapping[str, object], ...]
    problems: Mapping[str, int]

    @property
    def failures(self) -> list[str]:
        """Why the run does not count as good; empty when it does."""
        apart = self.pooled and self.nodes > 1
        wrong = {
            f"{self.wrong_bytes} wrong bytes": self.wrong_bytes > 0,
            f"{self.objects_lost} objects lost": self.objects_lost > 0,
            f"{self.hangs} calls came back later than their deadline": self.hangs > 0,
            "no hit at all": sum(self.hits.values()) == 0,
            "the nodes did not become one cache again": apart and self.became_one_seconds is None,
        }
        return [reason for reason, holds in wrong.items() if holds]

    def as_json(self) -> dict[str, object]:
        """All figures, in bytes, seconds and counts."""
        return {**asdict(self), "failures": self.failures}


def summarise(
    tally: Tally,
    checked: Checked,
    injected: list[Injected],
    *,
    seed: int,
    nodes: int,
    pooled: bool,
    network: bool,
    seconds: float,
    became_one_seconds: float | None,
) -> LabSummary:
    """The summary of a finished run."""
    return LabSummary(
        seed=seed,
        nodes=nodes,
        pooled=pooled,
        network=network,
        requests=tally.done,
        chunks=tally.chunks,
        object_bytes=tally.object_bytes,
        seconds=seconds,
        hits=dict(tally.hits),
        hit_rate=tally.hit_rate,
        local_only_hit_rate=tally.local_only_hit_rate,
        bytes_verified=tally.verified_bytes + checked.loaded * tally.object_bytes,
        wrong_bytes=tally.wrong_bytes + checked.wrong_bytes,
        objects_checked=checked.objects,
        objects_removed=checked.removed,
        objects_lost=checked.lost,
        unkept=tally.unkept,
        hangs=tally.late_calls,
        longest_call_seconds=tally.longest_call_seconds,
        requests_without_tier=tally.without_tier,
        became_one_seconds=became_one_seconds,
        faults=tuple(
            {
                "kind": done.fault.kind.value,
                "nodes": list(done.fault.nodes),
                "strength": done.fault.strength,
                "began": round(done.began, 3),
                "ended": round(done.ended, 3),
                "corrupted": done.corrupted,
            }
            for done in injected
        ),
        problems=dict(Counter(tally.problems)),
    )


def summary_table(summary: LabSummary) -> Table:
    """The figures for people."""
    became_one = "never" if summary.became_one_seconds is None else f"{summary.became_one_seconds:.2f} s"
    rows = [
        ("chunks that were hits", f"{sum(summary.hits.values()):,} ({summary.hit_rate:.1%})"),
        ("  by tier", hits_by_tier(summary.hits)),
        ("  each node alone, with room for everything", f"{summary.local_only_hit_rate:.1%}"),
        ("bytes verified", f"{summary.bytes_verified:,}"),
        ("wrong bytes", f"{summary.wrong_bytes:,}"),
        ("objects acknowledged and looked for at the end", f"{summary.objects_checked:,}"),
        ("  removed, as the node said", f"{summary.objects_removed:,}"),
        ("  lost", f"{summary.objects_lost:,}"),
        ("hits that could not be loaded (their node died first)", f"{summary.unkept:,}"),
        ("calls past their deadline", f"{summary.hangs:,}"),
        ("  longest call", f"{summary.longest_call_seconds:.2f} s"),
        ("requests served without the tier", f"{summary.requests_without_tier:,}"),
    ]
    if summary.pooled and summary.nodes > 1:
        rows.append(("one cache again after the last fault", became_one))
    where = "in network namespaces" if summary.network else "on loopback"
    title = (
        f"{summary.nodes} nodes {where}, {summary.requests:,} requests, {summary.chunks:,} chunks of "
        f"{summary.object_bytes // 1024} KiB, seed {summary.seed}, {summary.seconds:.0f} s"
    )
    return table_of(title, ("", ""), rows)
