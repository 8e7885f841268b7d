"""What is counted while a trace is replayed: reports of the stand-ins, and their sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kvasir_ops.replay.trace import TraceRequest

TIERS = ("dram", "ssd", "remote")
"""Where a hit can come from, as :class:`kvasir.Tier` names it."""


@dataclass(frozen=True)
class RequestReport:
    """What one stand-in did for one request.

    ``hits`` counts loaded chunks by the tier that had them. ``acknowledged`` has, for each chunk that the node answered
    as committed, when it did (``time.monotonic``, which all processes share). ``without_tier``: the node did not
    answer, and all or a part of the request was computed for that reason. ``unkept`` counts chunks that a lookup
    answered as hits and that could not be loaded. ``late_calls`` counts calls that were not back soon after their
    deadline; ``longest_call_seconds`` is the longest of all.
    """

    engine: int
    node: str
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
    unkept: int = 0
    late_calls: int = 0
    longest_call_seconds: float = 0.0
    problems: tuple[str, ...] = ()


class LocalOnly:
    """What the same requests at the same nodes would have hit if each node were alone, with room for everything.

    The most that caches without a pool can give: nothing is ever evicted here.
    """

    def __init__(self) -> None:
        self.hits = 0
        self._stored: dict[str, set[int]] = {}

    def serve(self, node: str, request: TraceRequest) -> None:
        """One request at a node that answers."""
        stored = self._stored.setdefault(node, set())
        for chunk in request.chunk_ids:
            if chunk not in stored:
                break
            self.hits += 1
        stored.update(request.chunk_ids)


@dataclass
class NodeTally:
    """What engines at one node asked for and got."""

    requests: int = 0
    chunks: int = 0
    hits: int = 0
    remote_hits: int = 0
    without_tier: int = 0

    @property
    def hit_rate(self) -> float:
        """Share of the chunks asked for here that were hits, 0 to 1."""
        return self.hits / self.chunks if self.chunks else 0.0


@dataclass
class Tally:
    """Sums over all reports that have come so far; owned by the thread that runs the replay."""

    requests: list[TraceRequest]
    object_bytes: int
    done: int = 0
    chunks: int = 0
    tokens: int = 0
    tokens_not_recomputed: int = 0
    hits: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TIERS, 0))
    local_only: LocalOnly = field(default_factory=LocalOnly)
    nodes: dict[str, NodeTally] = field(default_factory=dict)
    stored_by_other: int = 0
    verified_bytes: int = 0
    wrong_bytes: int = 0
    load_seconds: float = 0.0
    tier_seconds: float = 0.0
    store_seconds: float = 0.0
    stored_bytes: int = 0
    without_tier: int = 0
    unkept: int = 0
    late_calls: int = 0
    longest_call_seconds: float = 0.0
    # By the node that acknowledged them: when it did.
    acknowledged: dict[str, dict[int, float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, report: RequestReport) -> None:
        """Takes one report in."""
        request = self.requests[report.request]
        hits = sum(report.hits.values())
        self.done += 1
        self.chunks += len(request.chunk_ids)
        self.tokens += request.input_tokens
        self.tokens_not_recomputed += request.tokens_of(hits)
        for tier, count in report.hits.items():
            self.hits[tier] = self.hits.get(tier, 0) + count
        if not report.without_tier:
            self.local_only.serve(report.node, request)
        node = self.nodes.setdefault(report.node, NodeTally())
        node.requests += 1
        node.chunks += len(request.chunk_ids)
        node.hits += hits
        node.remote_hits += report.hits.get("remote", 0)
        node.without_tier += report.without_tier
        self.stored_by_other += report.stored_by_other
        self.verified_bytes += report.verified_bytes
        self.wrong_bytes += report.wrong_bytes
        self.load_seconds += report.load_seconds
        self.tier_seconds += report.tier_seconds
        self.store_seconds += report.store_seconds
        self.stored_bytes += len(report.acknowledged) * self.object_bytes
        self.without_tier += report.without_tier
        self.unkept += report.unkept
        self.late_calls += report.late_calls
        self.longest_call_seconds = max(self.longest_call_seconds, report.longest_call_seconds)
        self.acknowledged.setdefault(report.node, {}).update(report.acknowledged)
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
    def local_only_hit_rate(self) -> float:
        """The same share, if each node had been alone."""
        return self.local_only.hits / self.chunks if self.chunks else 0.0

    @property
    def load_bytes_per_s(self) -> float:
        """Speed of the loads, while one of the stand-ins was loading."""
        return self.verified_bytes / self.load_seconds if self.load_seconds else 0.0

    @property
    def store_bytes_per_s(self) -> float:
        """Speed of the stores, while one of the stand-ins was storing."""
        return self.stored_bytes / self.store_seconds if self.store_seconds else 0.0
