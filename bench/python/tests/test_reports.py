"""Counts from JUnit XML in the forms that Surefire and pytest write."""

from __future__ import annotations

from pathlib import Path

from kvasir_bench.checks.reports import Counts, read_counts

SUREFIRE = """<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="io.kvasir.SomeTest" time="0.1" tests="5" errors="1" skipped="1" failures="1">
  <testcase name="a" classname="io.kvasir.SomeTest" time="0"/>
  <testcase name="b" classname="io.kvasir.SomeTest" time="0"/>
  <testcase name="c" classname="io.kvasir.SomeTest" time="0"><failure/></testcase>
  <testcase name="d" classname="io.kvasir.SomeTest" time="0"><error/></testcase>
  <testcase name="e" classname="io.kvasir.SomeTest" time="0"><skipped/></testcase>
</testsuite>
"""
PYTEST = """<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" errors="0" failures="1" skipped="0" tests="3" time="0.1">
  <testcase classname="tests.test_a" name="a" time="0"/>
  <testcase classname="tests.test_a" name="b" time="0"/>
  <testcase classname="tests.test_a" name="c" time="0"><failure message="no">no</failure></testcase>
</testsuite></testsuites>
"""


def test_both_forms_are_summed(tmp_path: Path) -> None:
    surefire, pytest_xml = tmp_path / "surefire.xml", tmp_path / "pytest.xml"
    surefire.write_text(SUREFIRE)
    pytest_xml.write_text(PYTEST)
    assert read_counts([surefire]) == Counts(passed=2, failed=2, skipped=1)
    assert read_counts([pytest_xml]) == Counts(passed=2, failed=1, skipped=0)
    assert str(read_counts([surefire, pytest_xml])) == "4 passed, 3 failed, 1 skipped"


def test_no_report_is_no_test() -> None:
    assert read_counts([]).total == 0
