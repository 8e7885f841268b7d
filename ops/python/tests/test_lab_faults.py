"""The lab's schedule of faults, and what fails a run of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from kvasir_ops.lab.faults import Fault, FaultKind, draw
from kvasir_ops.lab.injector import Injector
from kvasir_ops.lab.nodes import PORTS, Nodes, NodeSettings, free_ports
from kvasir_ops.lab.summary import Checked, LabSummary, summarise
from kvasir_ops.replay.tally import RequestReport, Tally
from kvasir_ops.replay.trace import TraceRequest

NODES = ("a", "b", "c")
EVERY = list(FaultKind)


def test_same_seed_draws_the_same_schedule() -> None:
    assert draw(7, NODES, 9, EVERY) == draw(7, NODES, 9, EVERY)
    assert draw(7, NODES, 9, EVERY) != draw(8, NODES, 9, EVERY)


def test_every_kind_comes_before_one_comes_again() -> None:
    kinds = [fault.kind for fault in draw(3, NODES, 2 * len(EVERY), EVERY)]
    assert set(kinds[: len(EVERY)]) == set(kinds[len(EVERY) :]) == set(EVERY)


def test_faults_begin_in_order_and_inside_the_run() -> None:
    begins = [fault.at for fault in draw(5, NODES, 20, EVERY)]
    assert begins == sorted(begins)
    assert 0 < begins[0] < begins[-1] < 1


def test_no_kind_to_draw_from_is_an_error_only_when_there_are_faults() -> None:
    assert draw(1, NODES, 0, []) == []
    with pytest.raises(ValueError, match="no kind of fault"):
        draw(1, NODES, 1, [])


def test_nodes_on_loopback_refuse_faults_of_the_network(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "state").mkdir()
    with Nodes(tmp_path, NODES, NodeSettings(1, 1), tmp_path / "memory", tmp_path / "state") as nodes:
        faults = [Fault(FaultKind.KILL, 0.1, 1.0, ("a",)), Fault(FaultKind.LOSS, 0.2, 1.0, strength=0.1)]
        with pytest.raises(ValueError, match=r"nodes on loopback cannot have these faults: loss 10.0% of all"):
            Injector(nodes, None, faults, 1, print)


def test_nodes_get_ports_that_do_not_overlap() -> None:
    firsts = free_ports(5)
    ports = {first + place for first in firsts for place in range(PORTS)}
    assert len(ports) == 5 * PORTS


NOTHING = Checked()


def summary(hits: dict[str, int], checked: Checked = NOTHING, became_one: float | None = 1.0) -> LabSummary:
    tally = Tally([TraceRequest(0, 1024, (1, 2))], 4096)
    tally.add(RequestReport(0, "a", 0, hits, 0, 0, 0, 0.0, 0.0, 0.0, {}, False))
    return summarise(
        tally, checked, [], seed=1, nodes=3, pooled=True, network=False, seconds=1.0, became_one_seconds=became_one
    )


GOOD = summary({"dram": 1, "remote": 1})


def test_good_run_has_no_failures() -> None:
    assert GOOD.failures == []


@pytest.mark.parametrize(
    ("seen", "failure"),
    [
        (summary({"remote": 2}, Checked(objects=1, wrong_bytes=3)), "3 wrong bytes"),
        (summary({"remote": 2}, Checked(objects=1, lost=1)), "1 objects lost"),
        (summary({"remote": 2}, became_one=None), "the nodes did not become one cache again"),
        (dataclasses.replace(GOOD, hangs=1), "1 calls came back later than their deadline"),
        (dataclasses.replace(GOOD, hits={}, pooled=False), "no hit at all"),
    ],
)
def test_what_fails_a_run(seen: LabSummary, failure: str) -> None:
    assert seen.failures == [failure]


def test_nodes_alone_need_no_hits_of_others() -> None:
    assert dataclasses.replace(GOOD, hits={"dram": 1}, pooled=False, became_one_seconds=None).failures == []
