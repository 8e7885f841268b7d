"""What a check found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Grade(str, Enum):
    """``PROBLEM``: hits are not possible, or fewer than they could be. ``NOTE``: could be wanted so."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One line: what was seen, and, unless it is fine, what to do."""

    grade: Grade
    seen: str
    fix: str = ""

    def __str__(self) -> str:
        mark = {Grade.OK: "  ok      ", Grade.NOTE: "  note    ", Grade.PROBLEM: "  PROBLEM "}[self.grade]
        return mark + self.seen + (f"\n            -> {self.fix}" if self.fix else "")


def ok(seen: str) -> Finding:
    """It is as it should be."""
    return Finding(Grade.OK, seen)


def note(seen: str, fix: str = "") -> Finding:
    """To be known."""
    return Finding(Grade.NOTE, seen, fix)


def problem(seen: str, fix: str) -> Finding:
    """To be changed."""
    return Finding(Grade.PROBLEM, seen, fix)
