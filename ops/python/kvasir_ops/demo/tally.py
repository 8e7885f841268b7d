"""What the demo counts: reports of the stand-ins, their sums, and the summary with its arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from kvasir_ops.demo.trace import TraceRequest


@dataclass(frozen=True)
class RequestReport:
    """What one stand-in did for one request.

    ``hits`` counts loaded chunks by the tier that had them. ``acknowledged`` has, for each chunk that the node answered
    as committed, when it did (``time.monotonic``, which all processes share). ``without_tier``: the node did not
    answer, and all or a part of the request was computed for that reason.
    """

    engine: int
    request: int
    hits: Mapping[str, int]
    stored_by_other: int
    verified_bytes: int
    wrong_bytes: int
    load_seconds: float
    tier_seconds: float
    store_seconds: float
    acknowledged: Mapping[int, float]
    without_tier: bool
    problems: tuple[str, ...] = ()


@dataclass
class Tally:
    """Sums over all reports that have come so far; owned by the demo's main thread."""

    requests: list[TraceRequest]
    object_bytes: int
    done: int = 0
    chunks: int = 0
    tokens: int = 0
    tokens_not_recomputed: int = 0
    hits: dict[str, int] = field(default_factory=lambda: {"dram": 0, "ssd": 0})
    stored_by_other: int = 0
    verified_bytes: int = 0
    wrong_bytes: int = 0
    load_seconds: float = 0.0
    tier_seconds: float = 0.0
    store_seconds: float = 0.0
    stored_bytes: int = 0
    without_tier: int = 0
    acknowledged: dict[int, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, report: RequestReport) -> None:
        """Takes one report in."""
        request = self.requests[report.request]
        self.done += 1
        self.chunks += len(request.chunk_ids)
        self.tokens += request.input_tokens
        self.tokens_not_recomputed += request.tokens_of(sum(report.hits.values()))
        for tier, count in report.hits.items():
            self.hits[tier] = self.hits.get(tier, 0) + count
        self.stored_by_other += report.stored_by_other
        self.verified_bytes += report.verified_bytes
        self.wrong_bytes += report.wrong_bytes
        self.load_seconds += report.load_seconds
        self.tier_seconds += report.tier_seconds
        self.store_seconds += report.store_seconds
        self.stored_bytes += len(report.acknowledged) * self.object_bytes
        self.without_tier += report.without_tier
        self.acknowledged.update(report.acknowledged)
        self.problems.extend(report.problems)

    @property
    def all_hits(self) -> int:
        """Chunks that were loaded instead of computed."""
        return sum(self.hits.values())

    @property
    def hit_rate(self) -> float:
        """Share of all chunks asked for that were hits, 0 to 1."""
        return self.all_hits / self.chunks if self.chunks else 0.0

    @property
    def load_bytes_per_s(self) -> float:
        """Speed of the loads, while one of the stand-ins was loading."""
        return self.verified_bytes / self.load_seconds if self.load_seconds else 0.0

    @property
    def store_bytes_per_s(self) -> float:
        """Speed of the stores, while one of the stand-ins was storing."""
        return self.stored_bytes / self.store_seconds if self.store_seconds else 0.0


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
class Summary:
    """The figures at the end; :meth:`as_json` is what ``--json`` writes."""

    requests: int
    chunks: int
    object_bytes: int
    dram_bytes: int
    ssd_bytes: int
    seconds: float
    hits: Mapping[str, int]
    hit_rate: float
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
        }
        return [reason for reason, holds in wrong.items() if holds]

    def as_json(self) -> dict[str, object]:
        """All figures, in bytes, seconds and counts."""
        return {**asdict(self), "saved_seconds": self.saved_seconds, "failures": self.failures}


def summarise(
    tally: Tally,
    restart: Restart,
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
        chunks=tally.chunks,
        object_bytes=tally.object_bytes,
        dram_bytes=dram_bytes,
        ssd_bytes=ssd_bytes,
        seconds=seconds,
        hits=dict(tally.hits),
        hit_rate=tally.hit_rate,
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
        prefill_tokens_per_s=prefill_tokens_per_s,
        prefill_seconds_without=tally.tokens / prefill_tokens_per_s,
        prefill_seconds_with=(tally.tokens - tally.tokens_not_recomputed) / prefill_tokens_per_s,
        tier_seconds=tally.tier_seconds,
        problems=tuple(tally.problems),
    )
