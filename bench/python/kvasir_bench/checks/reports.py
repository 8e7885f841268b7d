"""Counts of passed, failed and skipped tests, read from the JUnit XML that Surefire and pytest write."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from junitparser import JUnitXml


@dataclass(frozen=True)
class Counts:
    """How many tests passed, failed (errors included) and were skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    @property
    def total(self) -> int:
        """All tests, skipped ones included."""
        return self.passed + self.failed + self.skipped

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def read_counts(files: Iterable[Path]) -> Counts:
    """Sum of the counts in JUnit XML files, with ``testsuite`` or ``testsuites`` as their root."""
    total = Counts()
    for file in files:
        root = JUnitXml.fromfile(str(file))
        for suite in root if isinstance(root, JUnitXml) else [root]:
            failed = suite.failures + suite.errors
            total += Counts(suite.tests - failed - suite.skipped, failed, suite.skipped)
    return total
