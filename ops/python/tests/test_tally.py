"""The demo's arithmetic, and what makes a run count as failed."""

from __future__ import annotations

import dataclasses
import json

import pytest

from kvasir_ops.demo.summary import Join, Restart, Summary, summarise
from kvasir_ops.replay.tally import LocalOnly, RequestReport, Tally
from kvasir_ops.replay.trace import TraceRequest

REQUESTS = [TraceRequest(0, 1024, (1, 2)), TraceRequest(1, 1300, (1, 2, 3))]
OBJECT = 4096


def report(request: int, **changes: object) -> RequestReport:
    plain = RequestReport(
        engine=0,
        node="a",
        request=request,
        hits={},
        stored_by_other=0,
        verified_bytes=0,
        wrong_bytes=0,
        load_seconds=0.0,
        tier_seconds=0.5,
        store_seconds=0.25,
        acknowledged={},
        without_tier=False,
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]  # the tests name real fields


JOINED = Join(answers_seconds=1.0, first_hit_seconds=2.0)


def finished(restart: Restart | None = None, join: Join = JOINED, **changes: object) -> Summary:
    tally = Tally(REQUESTS, OBJECT)
    tally.add(report(0, acknowledged={1: 1.0, 2: 1.5}))
    given = {
        "node": "b",
        "hits": {"dram": 1, "remote": 1},
        "verified_bytes": 2 * OBJECT,
        "load_seconds": 0.5,
        **changes,
    }
    tally.add(report(1, **given))
    return summarise(
        tally,
        restart or Restart(checked=2, evicted=0, lost=0, first_hit_seconds={"dram": 1.0}, in_dram=1, on_ssd=1),
        join,
        dram_bytes=1,
        ssd_bytes=2,
        seconds=3.0,
        endless_hits=2,
        prefill_tokens_per_s=100.0,
    )


def test_sums_and_rates() -> None:
    summary = finished()
    assert summary.chunks == 5
    assert summary.hits == {"dram": 1, "ssd": 0, "remote": 1}
    assert summary.hit_rate == pytest.approx(0.4)
    assert summary.tokens == 2324
    assert summary.tokens_not_recomputed == 1024
    assert summary.load_bytes_per_s == 4 * OBJECT
    assert summary.store_bytes_per_s == 4 * OBJECT


def test_saved_time_counts_the_time_in_calls_against_the_tier() -> None:
    summary = finished()
    assert summary.prefill_seconds_without == pytest.approx(23.24)
    assert summary.prefill_seconds_with == pytest.approx(13.0)
    assert summary.saved_seconds == pytest.approx(10.24 - 1.0)


def test_good_run_has_no_failures() -> None:
    assert finished().failures == []


@pytest.mark.parametrize(
    ("summary", "reason"),
    [
        (finished(wrong_bytes=1), "1 wrong bytes"),
        (finished(hits={"dram": 2}), "no hit from another node"),
        (finished(hits={"remote": 2}, node="a"), "no more hits than the nodes alone would have"),
        (finished(join=Join(1.0, None)), "no hit at the node that joined"),
        (finished(late_calls=2), "2 calls came back later than their deadline"),
        (finished(Restart(2, 0, 1, {"dram": 1.0}, 1, 0)), "1 objects lost"),
        (finished(Restart(0, 0, 0, {"dram": 1.0}, 0, 0)), "nothing was acknowledged before the kill"),
        (finished(Restart(2, 0, 0, {}, 1, 1)), "no hit after the restart"),
    ],
)
def test_what_fails_a_run(summary: Summary, reason: str) -> None:
    assert summary.failures == [reason]


def test_json_has_the_figures_that_are_checked() -> None:
    document = json.loads(json.dumps(finished().as_json()))
    assert document["wrong_bytes"] == 0
    assert document["objects_lost"] == 0
    assert document["hits"] == {"dram": 1, "ssd": 0, "remote": 1}
    assert document["failures"] == []


def test_node_alone_hits_only_what_was_asked_for_at_it() -> None:
    alone = LocalOnly()
    for node, chunks in (("a", (1, 2)), ("b", (1, 2, 3)), ("a", (1, 2, 3)), ("b", (1, 4, 3)), ("a", (3, 1))):
        alone.serve(node, TraceRequest(0, 0, chunks))
    # a: 1 2 of the third request, 3 1 of the last; b: 1 of the fourth.
    assert alone.hits == 2 + 2 + 1


def test_requests_that_no_node_answered_count_for_no_node_alone() -> None:
    tally = Tally(REQUESTS, OBJECT)
    tally.add(report(0, without_tier=True))
    tally.add(report(1))
    assert (tally.local_only.hits, tally.nodes["a"].without_tier, tally.chunks) == (0, 1, 5)
