"""The router's metrics, in a registry of their own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120)


class Metrics:
    """Everything that is counted; see docs/router.md."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "kvasir_router_requests_total",
            "Requests by how they ended: answered, refused (by the router), failed (no engine answered), "
            "broken (the engine ended in the middle of its answer), late (past the time limit), left (by the client)",
            ["path", "outcome"],
            registry=self.registry,
        )
        self.first_byte = Histogram(
            "kvasir_router_first_byte_seconds",
            "From a request's arrival to the first part of its answer, prefill on another engine included",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.attempts = Counter(
            "kvasir_router_attempts_total",
            "Requests sent to engines: answered, busy (429, 502, 503, 504), refused (no connection), lost (gone or "
            "silent before the first byte)",
            ["engine", "outcome"],
            registry=self.registry,
        )
        self.prefills = Counter(
            "kvasir_router_prefills_total",
            "Prompts by where they were computed: apart (on a prefill engine), held (the decode engine's node has "
            "enough of it), failed (no prefill engine did it; the decode engine does)",
            ["outcome"],
            registry=self.registry,
        )
        self.prompt_tokens = Counter(
            "kvasir_router_prompt_tokens_total",
            "Prompt tokens of requests that were sent on (estimated from the bytes where nobody counted)",
            registry=self.registry,
        )
        self.held_tokens = Counter(
            "kvasir_router_held_tokens_total",
            "Of those, tokens that the node of the chosen engine held",
            registry=self.registry,
        )
        self.score_failures = Counter(
            "kvasir_router_score_failures_total",
            "Questions about what a node holds that were not answered in time or failed; the request was balanced",
            ["engine"],
            registry=self.registry,
        )
        self.up = Gauge("kvasir_router_engine_up", "1: it answers its probes", ["engine"], registry=self.registry)
        self.in_flight = Gauge(
            "kvasir_router_engine_requests", "Requests under way at an engine", ["engine"], registry=self.registry
        )
