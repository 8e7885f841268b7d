"""Figures of JMH become records, and the objects that a program makes are those that lookups ask for."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import pytest
from rich.console import Console

from kvasir_bench import cli, report
from kvasir_bench.context import Context
from kvasir_bench.many_objects import CHAIN, FEW, chain_keys
from kvasir_bench.micro import FIGURES, LIMIT, PACKAGE, records
from kvasir_bench.records import Record, at_most, record


def result(benchmark: str, nanoseconds: Sequence[float], parameters: dict[str, str]) -> dict[str, object]:
    found: dict[str, object] = {
        "benchmark": f"{PACKAGE}.{benchmark}",
        "primaryMetric": {"score": 0.0, "rawData": [list(nanoseconds)]},
        "secondaryMetrics": {"gc.alloc.rate.norm": {"score": 0.0, "rawData": [[40.0, 41.0, 48.0]]}},
    }
    return found | ({"params": parameters} if parameters else {})


def test_each_benchmark_gives_its_time_and_what_it_allocates() -> None:
    results = [result(figure.benchmark, [20.0, 30.0, 90.0], dict(figure.parameters)) for figure in FIGURES]
    found = {made.id: made for made in records([*results, result(LIMIT, [5.0, 5.0, 6.0], {})])}
    assert len(found) == 2 * len(FIGURES)
    plan = found["micro.plan.512x8"]
    assert (plan.value, plan.unit, plan.reference_value, plan.goal) == (30.0, "ns", 5.0, None)
    allocated = found["micro.plan.512x8.alloc"]
    assert (allocated.value, allocated.reference_value) == (41.0, 8 * 32.0)
    assert found["micro.probe.hit.alloc"].reference is None


def test_a_benchmark_that_is_missing_is_an_error() -> None:
    with pytest.raises(KeyError):
        list(records([result(LIMIT, [5.0], {})]))


def test_what_measures_parts_runs_only_when_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def suite(name: str) -> Callable[[Context], Generator[Record, None, None]]:
        def run(context: Context) -> Generator[Record, None, None]:
            ran.append(name)
            yield from ()

        return run

    for name in cli.SUITES:
        monkeypatch.setitem(cli.SUITES, name, suite(name))
    cli.main([])
    assert ran == [name for name in cli.SUITES if name not in ("micro", "objects")]
    ran.clear()
    cli.main(["micro"])
    assert ran == ["micro"]


def test_as_few_objects_as_the_reference_has_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["objects", "--objects", str(FEW)])
    assert "--objects must be more than" in capsys.readouterr().err


def test_the_last_chain_may_be_a_short_one() -> None:
    assert len(chain_keys(0, 10_000)) == CHAIN * 32
    last = chain_keys(19, 10_000)
    assert len(last) == (10_000 - 19 * CHAIN) * 32
    assert int.from_bytes(last[-32:-24], "big") == 9_999


def test_a_record_without_a_goal_is_neither_met_nor_missed() -> None:
    console = Console(record=True, width=200)
    limited = record("objects.start", "start", "s", [3.0], "with few", [1.0], at_most(plus=15))
    report.show(console, [limited, record("micro.probe.hit", "probe", "ns", [20.0], "memory", [5.0], None)])
    assert "1 of 1 goals met." in console.export_text()
