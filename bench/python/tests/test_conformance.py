"""What the conformance part makes of ``go test -json``: no test is reported better than it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from junitparser import Failure, Skipped

from kvasir_bench.checks.conformance import Told, bytes_of, cases, collect, unavailable


def told(*events: tuple[str, str, str]) -> dict[str, Told]:
    found: dict[str, Told] = {}
    lines = [json.dumps({"Action": action, "Test": test, "Output": output}) for action, test, output in events]
    collect([*lines, "FAIL kvasir [build failed]\n"], found)
    return found


def outcomes(found: dict[str, Told]) -> dict[str, str]:
    kinds = {Failure: "failed", Skipped: "skipped"}
    return {case.name: kinds[type(case.result[0])] if case.result else "passed" for case in cases(found)}


def test_each_test_is_a_case_and_one_with_subtests_is_not() -> None:
    assert outcomes(
        told(("run", "A", ""), ("pass", "A/one", ""), ("pass", "A", ""), ("skip", "B", ""), ("pass", "C", ""))
    ) == {"A/one": "passed", "B": "skipped", "C": "passed"}


def test_failure_is_counted_once_with_its_output() -> None:
    found = told(("output", "A/one", "0 instead of 1\n"), ("fail", "A/one", ""), ("fail", "A", ""))
    assert outcomes(found) == {"A/one": "failed"}
    assert "0 instead of 1" in cases(found)[0].result[0].message


def test_test_that_fails_beside_its_subtests_counts() -> None:
    assert outcomes(told(("pass", "A/one", ""), ("fail", "A", ""))) == {"A/one": "passed", "A": "failed"}


def test_test_that_did_not_end_has_failed() -> None:
    assert outcomes(told(("run", "A", ""))) == {"A": "failed"}


def test_without_go_there_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "Go is not installed" in unavailable(tmp_path)


def test_bytes_are_those_of_the_other_client() -> None:
    # SHA-256 of 40 zero bytes, and the first 8 bytes of that of 32 zero bytes and the counter 1.
    first = "2c34ce1df23b838c5abf2a7f6437cca3d3067ed509ff25f11df6b11b582b51eb"
    assert bytes_of(bytes(32), 40).hex() == f"{first}19ea44be89eece0f"
