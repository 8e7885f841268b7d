"""Checks of an engine that runs: what its ``/health`` and ``/metrics`` say."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from kvasir_vllm.doctor.findings import Finding, note, ok, problem
from kvasir_vllm.shared.options import THE_FLAG
from kvasir_vllm.shared.published import METRIC, Published, differences

_SECONDS = 5.0


@dataclass(frozen=True)
class Sample:
    """One line of ``/metrics``."""

    name: str
    labels: Mapping[str, str]
    value: float


class ServedEngine:
    """What one engine said, read once."""

    def __init__(self, url: str, samples: Iterable[Sample]) -> None:
        self.url = url
        self._samples = tuple(samples)

    @staticmethod
    def ask(url: str) -> ServedEngine | Finding:
        """Reads it; or why it cannot be read."""
        url = url.rstrip("/").removesuffix("/v1").removesuffix("/metrics")
        try:
            with urllib.request.urlopen(f"{url}/metrics", timeout=_SECONDS) as answer:  # noqa: S310 - the user's URL
                text = answer.read().decode()
            samples = [
                Sample(sample.name, sample.labels, sample.value)
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            ]
        except (OSError, urllib.error.URLError, ValueError) as error:
            return problem(f"{url}/metrics cannot be read: {error}", "is the engine up, and is this its address?")
        return ServedEngine(url, samples)

    def total(self, name: str) -> float | None:
        """The sum over a metric's series; None: it has none."""
        values = [sample.value for sample in self._samples if sample.name == name]
        return sum(values) if values else None

    def labels(self, name: str) -> Mapping[str, str] | None:
        """The labels of a metric whose value is 1."""
        return next((s.labels for s in self._samples if s.name == name and s.value == 1), None)

    def buckets(self, name: str) -> dict[float, float]:
        """A histogram's cumulative counts by upper bound, over all series."""
        found: dict[float, float] = {}
        for sample in self._samples:
            if sample.name == f"{name}_bucket":
                bound = float(sample.labels["le"])
                found[bound] = found.get(bound, 0.0) + sample.value
        return found

    @property
    def connected(self) -> bool:
        """Whether it runs with the connector."""
        return any(sample.name.startswith("vllm:kvasir_") for sample in self._samples)

    @property
    def published(self) -> Published | None:
        """Its identity, once it has told it."""
        labels = self.labels(METRIC)
        return Published.parse(labels["identity"]) if labels else None


def check(engine: ServedEngine) -> list[Finding]:
    """Everything about one engine."""
    if engine.total("vllm:num_requests_running") is None:
        return [problem(f"{engine.url}/metrics is not a vLLM engine's", "give the engine's own address")]
    if not engine.connected:
        return [problem("the engine runs without Kvasir's connector", f"start it with {THE_FLAG}")]
    found = [ok("the engine runs with Kvasir's connector, so kv_load_failure_policy is accepted by it")]
    cache = engine.labels("vllm:cache_config_info") or {}
    if cache.get("enable_prefix_caching") == "False":
        found.append(problem("prefix caching is off: blocks have no hashes", "remove --no-enable-prefix-caching"))
    published = engine.published
    if published is None:
        found.append(
            note(
                "the engine has not told what its bytes are filed under",
                "it does so with its first request; if it still has not, its log says why it does not use the node",
            )
        )
        return found
    return [*found, *_identity(published), _prompts(engine, published.namespace.chunk_tokens), *_traffic(engine)]


def _identity(published: Published) -> list[Finding]:
    namespace = published.namespace
    seen = (
        f"files under model {namespace.model}, {namespace.hash_algorithm}, seed {namespace.hash_seed}, KV "
        f"{namespace.kv_dtype}, layout {namespace.layout}, generation {namespace.generation}"
    )
    if published.private:
        return [ok(seen), problem("shares with no other engine", published.private)]
    found = [ok(seen), ok("its block hashes are reproducible: other engines can find what it stores")]
    if namespace.generation:
        found.append(
            note("its prefix cache was reset with a new generation", "what was stored before is not loaded any more")
        )
    return found


def _prompts(engine: ServedEngine, chunk_tokens: int) -> Finding:
    buckets = engine.buckets("vllm:request_prompt_tokens")
    total = max(buckets.values(), default=0)
    if not total:
        return note(f"no request has ended yet; prompts shorter than a chunk of {chunk_tokens} tokens never hit")
    # Only what is surely shorter: the largest bound below the chunk.
    below = max((count for bound, count in buckets.items() if bound < chunk_tokens), default=0)
    share = below / total
    seen = f"at least {share:.0%} of {total:.0f} prompts are shorter than a chunk ({chunk_tokens} tokens) and never hit"
    if share > 0.5:
        return problem(seen, "set chunk_tokens in kv_connector_extra_config, down to one block of the engine")
    return note(seen) if share else ok(f"prompts are long enough for chunks of {chunk_tokens} tokens")


def _traffic(engine: ServedEngine) -> list[Finding]:
    def count(name: str) -> int:
        return int(engine.total(f"vllm:kvasir_{name}_total") or 0)

    found = []
    lookups, missed = count("lookups"), count("failed_lookups")
    if lookups and missed * 10 > lookups:
        found.append(
            problem(
                f"{missed} of {lookups} lookups were not answered in time",
                "is the node up and not short of processor time? See its log, and lookup_timeout",
            )
        )
    for what in ("stores", "loads"):
        tried, failed = count(what), count(f"failed_{what}")
        if tried and failed * 10 > tried:
            found.append(problem(f"{failed} of {tried} {what} failed", "the engine's log says why, once for each run"))
    hits = engine.total("vllm:external_prefix_cache_hits_total")
    asked = engine.total("vllm:external_prefix_cache_queries_total")
    if hits:
        found.append(ok(f"{hits:.0f} of {asked or 0:.0f} tokens that were asked for were loaded"))
    elif not lookups:
        found.append(note("nothing was looked up yet", "send it a prompt that is longer than a chunk"))
    elif not count("stores"):
        found.append(
            note("nothing was loaded, and this engine has stored nothing", "has any engine stored this prompt?")
        )
    else:
        found.append(
            note(
                "nothing was loaded yet",
                "were prompts repeated? What the engine still has itself is not loaded. To compare with the engine "
                "that stored them, give both: --engine URL --engine URL",
            )
        )
    return found


def compare(first: ServedEngine, second: ServedEngine) -> Finding:
    """Whether two engines can load what the other stores."""
    one, other = first.published, second.published
    if one is None or other is None:
        silent = first if one is None else second
        return note(f"{silent.url} has not told its namespace, so the two cannot be compared", "send it a request")
    differing = differences(one.namespace, other.namespace)
    if differing:
        listed = "\n".join(f"              {name}: {left!r} and {right!r}" for name, left, right in differing)
        return problem(
            f"{first.url} and {second.url} file under different namespaces and never meet:\n{listed}",
            "make these fields equal",
        )
    return ok(f"{first.url} and {second.url} file under one namespace")
