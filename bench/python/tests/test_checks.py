"""The runner behind ``kvasir test``: a part is never reported better than it was."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from kvasir_bench.checks.engine_environments import EngineEnvironments
from kvasir_bench.checks.parts import Part, engine_environments, parts
from kvasir_bench.checks.reports import Counts
from kvasir_bench.checks.run import run_part, run_parts
from kvasir_bench.environments import Environment, EnvironmentUnavailableError


def part(tmp_path: Path, code: str, **changes: object) -> Part:
    given: dict[str, object] = {"bound_s": 60.0, **changes}
    return Part("part", [sys.executable, "-c", code], tmp_path, **given)  # type: ignore[arg-type]


def test_check_counts_as_one(tmp_path: Path) -> None:
    assert run_part(part(tmp_path, ""), tmp_path).counts == Counts(passed=1)
    assert run_part(part(tmp_path, "raise SystemExit(3)"), tmp_path).counts == Counts(failed=1)


def test_part_that_cannot_run_is_skipped_with_its_reason(tmp_path: Path) -> None:
    outcome = run_part(part(tmp_path, "", unavailable="no such tool"), tmp_path)
    assert (outcome.word, outcome.counts, outcome.note) == ("skipped", Counts(skipped=1), "no such tool")


def test_runner_that_ran_no_test_has_failed(tmp_path: Path) -> None:
    outcome = run_part(part(tmp_path, "", has_tests=True), tmp_path)
    assert (outcome.word, outcome.note) == ("FAILED", "no test ran")


def test_runner_that_breaks_after_its_report_has_failed(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    code = f"""
import pathlib, sys
pathlib.Path({str(report)!r}).write_text('<testsuite name="s" tests="1" errors="0" failures="0" skipped="0"/>')
sys.exit(1)
"""
    outcome = run_part(
        part(tmp_path, code, has_tests=True, reports=lambda: [report] if report.exists() else []), tmp_path
    )
    assert outcome.counts == Counts(passed=1, failed=1)


def test_report_of_an_earlier_run_does_not_count(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text('<testsuite name="s" tests="9" errors="0" failures="0" skipped="0"/>')
    outcome = run_part(
        part(tmp_path, "", has_tests=True, reports=lambda: [report] if report.exists() else []), tmp_path
    )
    assert outcome.word == "FAILED"


def test_part_past_its_bound_has_failed_and_is_gone(tmp_path: Path) -> None:
    outcome = run_part(part(tmp_path, "import signal; signal.pause()", bound_s=0.2), tmp_path)
    assert (outcome.word, outcome.note) == ("FAILED", "ran past its time")


def test_parts_that_share_the_machine_run_by_two_and_are_all_shown(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".kvasir" / "reports").mkdir(parents=True)
    # Each of the first two waits for the other to have begun; the third begins when one has ended.
    code = """
import pathlib, sys, time
own, other = map(pathlib.Path, sys.argv[1:])
own.touch()
while not other.exists():
    time.sleep(0.01)
print("seen by", own.name)
"""

    def shares(name: str, other: str) -> Part:
        command = [sys.executable, "-c", code, str(tmp_path / name), str(tmp_path / other)]
        return Part(name, command, tmp_path, 30, shares_machine=True)

    chosen = [part(tmp_path, "print('alone')"), shares("a", "b"), shares("b", "a"), shares("c", "a")]
    outcomes = run_parts(chosen, tmp_path, Console(file=sys.__stdout__))
    assert [(outcome.part, outcome.word) for outcome in outcomes] == [(each, "passed") for each in chosen]
    shown = capfd.readouterr().out
    assert all(line in shown for line in ("alone", "seen by a", "seen by b", "seen by c"))


def test_an_interrupt_ends_all_parts_that_run(tmp_path: Path) -> None:
    (tmp_path / ".kvasir" / "reports").mkdir(parents=True)
    code = "import os, pathlib, signal; pathlib.Path('begun').touch(); signal.pause()"
    waits = part(tmp_path, code, shares_machine=True)
    fails = Part("none", [str(tmp_path / "absent")], tmp_path, 30, shares_machine=True)
    begin = time.monotonic()
    with pytest.raises(FileNotFoundError):
        run_parts([waits, fails], tmp_path, Console(quiet=True))
    assert time.monotonic() - begin < 30


def test_engine_that_cannot_be_installed_is_skipped_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(environment: Environment, say: object) -> Path:
        raise EnvironmentUnavailableError("the registry does not answer")

    monkeypatch.setattr("kvasir_bench.checks.engine_environments.prepare", refuse)
    made = EngineEnvironments(engine_environments())
    assert not [found for found in parts(tmp_path, quick=False) if found.name.startswith("engine")]
    engines = [found for found in parts(tmp_path, False, made.obstacle) if found.name.startswith("engine")]
    assert [found.name for found in engines] == [
        "engine (vLLM 0.32.0)",
        "engine (vLLM 0.29.0)",
        "engine (SGLang 0.5.23)",
        "engine (vLLM 0.29.0, router)",
    ]
    assert {run_part(found, tmp_path).note for found in engines} == {"the registry does not answer"}
    assert {run_part(found, tmp_path).word for found in engines} == {"skipped"}


def test_environments_of_engines_are_made_while_other_parts_run(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end = threading.Event()

    def prepare(environment: Environment, say: object) -> Path:
        assert may_end.wait(60)
        return environment.python

    monkeypatch.setattr("kvasir_bench.checks.engine_environments.prepare", prepare)
    made = EngineEnvironments(engine_environments())
    may_end.set()
    made.wait()
    assert {made.obstacle(environment) for environment in engine_environments()} == {""}


def test_suites_that_hold_deadlines_have_the_machine_for_themselves(tmp_path: Path) -> None:
    for tree in ("client", "ops/python", "router"):
        (tmp_path / tree).mkdir(parents=True)
    found = parts(tmp_path, False, lambda environment: "")
    sharing = {each.name for each in found if each.shares_machine}
    assert not sharing & {"tests (Java)", "tests (client)", "tests (ops/python)", "format (Java)"}
    assert sharing >= {"tests (router)", "engine (vLLM 0.32.0)", "engine (SGLang 0.5.23)"}


def test_quick_leaves_out_the_same_in_java_and_python(tmp_path: Path) -> None:
    (tmp_path / "ops" / "python").mkdir(parents=True)
    quick = {found.name: found.command for found in parts(tmp_path, quick=True)}
    whole = {found.name: found.command for found in parts(tmp_path, quick=False)}
    assert quick["tests (Java)"] == [*whole["tests (Java)"], "-DexcludedGroups=slow,integration"]
    assert quick["tests (ops/python)"] == [*whole["tests (ops/python)"], "-m", "not slow and not integration"]


@pytest.mark.parametrize("versions", [["0.32.0", "0.29.0"], ["0.4.1", "0.29.0", "0.32.0"]])
def test_only_the_newest_version_of_an_engine_runs_what_depends_on_none(tmp_path: Path, versions: list[str]) -> None:
    found = parts(tmp_path, False, lambda environment: "", versions)
    chosen = {part.name: part.command[part.command.index("-m", 2) + 1] for part in found if "engine (" in part.name}
    older = {f"engine (vLLM {version})": "engine and not one_version" for version in versions if version != "0.32.0"}
    assert chosen == {
        **older,
        "engine (vLLM 0.32.0)": "engine",
        f"engine (vLLM {versions[0]}, router)": "engine",
        "engine (SGLang 0.5.23)": "engine",
    }
