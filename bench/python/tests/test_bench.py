"""The maths of the benchmarks: goals, medians, records, and the page made from them."""

import json
import math
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvasir_bench import records, report
from kvasir_bench.context import Context
from kvasir_bench.records import FIELDS, Goal, Record, at_least, at_most, met, percentile, record

numbers = st.floats(min_value=0, max_value=1e9, allow_nan=False)
tidy = st.integers(min_value=1, max_value=100_000).map(lambda hundredths: hundredths / 100)


def test_a_share_of_the_reference_is_met_from_its_bound_on() -> None:
    assert met(9.0, 10.0, at_least(0.9))
    assert not met(8.999, 10.0, at_least(0.9))


def test_an_allowance_on_top_of_the_reference_is_in_the_value_unit() -> None:
    goal = at_most(2, plus=100)
    assert met(170.0, 35.0, goal)
    assert not met(170.1, 35.0, goal)


def test_a_fixed_limit_does_not_move_with_the_reference() -> None:
    assert met(0.0, 5000.0, at_most())
    assert not met(1.0, 5000.0, at_most())
    assert met(3.0, 0.1, at_most(plus=3))


@pytest.mark.parametrize(
    ("value", "reference", "goal"),
    [
        (None, 1.0, at_least(0.1)),
        (1.0, None, at_least(0.1)),
        (1.0, 1.0, None),
        (math.nan, 1.0, at_least(0.1)),
        (math.inf, 1.0, at_least(0.1)),
        (1.0, math.nan, at_most(1)),
    ],
)
def test_what_is_missing_or_not_finite_is_not_met(
    value: float | None, reference: float | None, goal: Goal | None
) -> None:
    assert not met(value, reference, goal)


def test_a_record_without_a_named_reference_is_not_met() -> None:
    assert not Record("engine.x", "engine", "x", 1.0, "s", None, 1.0, at_least(0.5)).met
    assert Record("engine.x", "engine", "x", 1.0, "s", "memcpy", 1.0, at_least(0.5)).met


@given(sense=st.sampled_from(["at_least", "at_most"]), factor=tidy, plus=st.one_of(st.just(0.0), tidy))
def test_a_goal_reads_back_from_its_text(sense: str, factor: float, plus: float) -> None:
    for goal in (Goal(sense, factor, plus), Goal(sense, 0.0, plus)):  # type: ignore[arg-type]
        assert Goal.parse(goal.text("us")) == goal
        assert Goal.parse(goal.text("")) == goal


@pytest.mark.parametrize("text", ["", "> 3 s", "0.9 x reference", ">= x reference", ">= 0.9 x reference - 3"])
def test_other_text_is_no_goal(text: str) -> None:
    with pytest.raises(ValueError, match="not a goal"):
        Goal.parse(text)


@given(values=st.lists(numbers, min_size=1), references=st.lists(numbers, min_size=1))
def test_a_record_has_medians_and_ranges_of_both_sides(values: list[float], references: list[float]) -> None:
    made = record("engine.load", "load", "GB/s", values, "memcpy", references, at_least(0.9))
    assert made.suite == "engine"
    assert made.value == statistics.median(values)
    assert made.reference_value == statistics.median(references)
    assert made.extra["runs"] == len(values)
    assert made.extra["max"] == pytest.approx(max(values), rel=1e-5)
    assert made.met == met(made.value, made.reference_value, at_least(0.9))


def test_a_record_without_runs_is_written_and_not_met() -> None:
    made = record("peers.redis.load", "load", "GB/s", [5.0], None, [], at_least(1))
    data = made.to_json()
    assert (data["reference"], data["reference_value"], data["ratio"], data["met"]) == (None, None, None, False)


def test_json_has_the_fields_in_order_and_reads_back() -> None:
    made = record("control.ping", "ping", "us", [30.0, 31.0, 90.0], "echo", [25.0], at_most(1.3), p99=110.5)
    data = json.loads(json.dumps(made.to_json()))
    assert tuple(data)[: len(FIELDS)] == FIELDS
    assert (data["value"], data["reference_value"], data["ratio"], data["met"]) == (31.0, 25.0, 1.24, True)
    assert data["p99"] == 110.5
    assert Record.from_json(data).to_json() == data


def test_met_in_a_file_is_worked_out_again() -> None:
    data = record("control.ping", "ping", "us", [99.0], "echo", [25.0], at_most(1.3)).to_json()
    assert not Record.from_json(data | {"met": True, "ratio": 1.0}).met


def test_a_file_with_a_field_missing_is_refused() -> None:
    data = record("control.ping", "ping", "us", [99.0], "echo", [25.0], at_most(1.3)).to_json()
    del data["goal"]
    with pytest.raises(ValueError, match="lacks goal"):
        Record.from_json(data)


@given(st.lists(numbers, min_size=1), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_is_one_of_the_values_and_covers_its_share(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values)


def test_the_page_keeps_what_was_written_by_hand(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    document = [record("control.ping", "ping", "us", [40.0], "echo", [25.0], at_most(1.3)).to_json()]
    page.write_text(report.render([document], page))
    assert "| `control.ping` | 40 us |" in page.read_text()
    assert "**no**" in page.read_text()
    page.write_text(page.read_text().replace("Nothing is written here yet.", "The wake-up costs more."))
    again = report.render([document], page)
    assert "The wake-up costs more." in again
    assert again.count(report.BEGIN_BY_HAND) == 1


def test_a_page_needs_a_record(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no record"):
        report.render([[]], tmp_path / "benchmarks.md")


def test_the_command_names_the_suites_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    from kvasir_bench.cli import SUITES, main

    with pytest.raises(SystemExit):
        main(["engin"])
    assert {"engine", "restart", "peers"} <= SUITES.keys()
    assert ", ".join(SUITES) in capsys.readouterr().err


def test_a_part_that_fails_takes_no_other_records_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from kvasir_bench import cli, cluster, directory, link, simulated

    def fails(context: Context) -> Iterator[Record]:
        yield record("cluster.link.x", "x", "us", [1.0], "y", [1.0], at_most(1))
        raise RuntimeError("found 768 (800) of 512 chunks")

    def works(id: str) -> Callable[[Context], Iterator[Record]]:
        return lambda context: iter([record(id, "x", "us", [1.0], "y", [1.0], at_most(1))])

    monkeypatch.setattr(link, "run", fails)
    monkeypatch.setattr(directory, "run", works("cluster.directory.x"))
    monkeypatch.setattr(simulated, "run", works("cluster.sim.x"))
    for name in ("_trace", "_holder_death", "_split"):
        monkeypatch.setattr(cluster, name, works(f"cluster.{name}"))
    monkeypatch.setattr(cluster, "unavailable", lambda: None)
    written = tmp_path / "records.json"
    status = cli.main(["cluster", "--json", str(written), "--directory", str(tmp_path)])
    assert status == cli.EXIT_COULD_NOT_RUN
    assert [item["id"] for item in json.loads(written.read_text())] == [
        "cluster.link.x",
        "cluster.directory.x",
        "cluster.sim.x",
        "cluster._trace",
        "cluster._holder_death",
        "cluster._split",
    ]
    assert "found 768 (800) of 512 chunks" in capsys.readouterr().err


def test_rounding_keeps_six_digits() -> None:
    assert records.Record("a", "a", "a", 123456.789, "s", "r", 0.000123456789, None).to_json()["value"] == 123457.0
