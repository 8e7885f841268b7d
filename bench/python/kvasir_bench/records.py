"""What a benchmark hands over: a record, its goal, and the one rule that says whether the goal is met.

Every suite builds its records with :func:`record`; the command writes them as JSON and renders them.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

FIELDS = ("id", "suite", "name", "value", "unit", "reference", "reference_value", "ratio", "goal", "met")
"""The fields that every record has in JSON, in order; what a suite adds comes after them."""

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_GOAL = re.compile(
    rf"(?P<sense>>=|<=) (?:(?P<factor>{_NUMBER}) x reference(?: \+ (?P<plus>{_NUMBER})(?: \S+)?)?"
    rf"|(?P<limit>{_NUMBER})(?: \S+)?)"
)


@dataclass(frozen=True)
class Goal:
    """A bound on a value: ``factor`` times the reference, and ``plus`` in the value's unit.

    A ``factor`` of 0 is a fixed limit. The text form is what stands in JSON: ``>= 0.9 x reference``,
    ``<= 1 x reference + 150 us``, ``<= 3 s``.
    """

    sense: Literal["at_least", "at_most"]
    factor: float = 0.0
    plus: float = 0.0

    def text(self, unit: str) -> str:
        """The goal as people read it; :meth:`parse` reads it back."""
        sign = ">=" if self.sense == "at_least" else "<="
        tail = f" {unit}" if unit else ""
        if self.factor == 0.0:
            return f"{sign} {_plain(self.plus)}{tail}"
        return f"{sign} {_plain(self.factor)} x reference" + (f" + {_plain(self.plus)}{tail}" if self.plus else "")

    @staticmethod
    def parse(text: str) -> Goal:
        """Reads :meth:`text` back; ValueError for anything else."""
        match = _GOAL.fullmatch(text)
        if match is None:
            raise ValueError(f"not a goal: {text!r}; seen in records are '>= 0.9 x reference' and '<= 3 s'")
        sense: Literal["at_least", "at_most"] = "at_least" if match["sense"] == ">=" else "at_most"
        if match["limit"] is not None:
            return Goal(sense, 0.0, float(match["limit"]))
        return Goal(sense, float(match["factor"]), float(match["plus"] or 0))

    def bound(self, reference_value: float) -> float:
        """The value that just meets the goal."""
        return self.factor * reference_value + self.plus


def at_least(factor: float) -> Goal:
    """At least this share of the reference."""
    return Goal("at_least", factor)


def at_most(factor: float = 0.0, plus: float = 0.0) -> Goal:
    """At most ``factor`` times the reference and ``plus`` on top, or the fixed limit ``plus``."""
    return Goal("at_most", factor, plus)


def met(value: float | None, reference_value: float | None, goal: Goal | None) -> bool:
    """Whether a value meets its goal. Without a value, a reference or a goal it does not."""
    if value is None or reference_value is None or goal is None:
        return False
    if not (math.isfinite(value) and math.isfinite(reference_value)):
        return False
    bound = goal.bound(reference_value)
    return value >= bound if goal.sense == "at_least" else value <= bound


@dataclass(frozen=True)
class Record:
    """One figure. ``extra`` holds what explains it: the range over the runs, counts, settings."""

    id: str
    suite: str
    name: str
    value: float | None
    unit: str
    reference: str | None
    reference_value: float | None
    goal: Goal | None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Value over reference; None when either is missing or the reference is 0."""
        if self.value is None or not self.reference_value:
            return None
        return self.value / self.reference_value

    @property
    def met(self) -> bool:
        """Whether the goal is met; a record that names no reference never is."""
        return self.reference is not None and met(self.value, self.reference_value, self.goal)

    def to_json(self) -> dict[str, Any]:
        """The record as it stands in the JSON file."""
        base = {
            "id": self.id,
            "suite": self.suite,
            "name": self.name,
            "value": _rounded(self.value),
            "unit": self.unit,
            "reference": self.reference,
            "reference_value": _rounded(self.reference_value),
            "ratio": _rounded(self.ratio),
            "goal": self.goal.text(self.unit) if self.goal else None,
            "met": self.met,
        }
        clash = base.keys() & self.extra.keys()
        assert not clash, f"extra fields {sorted(clash)} hide fields of the record {self.id}"
        return base | dict(self.extra)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Record:
        """Reads a record of a JSON file; ``ratio`` and ``met`` are worked out again, not believed."""
        missing = [name for name in FIELDS if name not in data]
        if missing:
            raise ValueError(f"record {data.get('id', '?')!r} lacks {', '.join(missing)}")
        return Record(
            id=data["id"],
            suite=data["suite"],
            name=data["name"],
            value=data["value"],
            unit=data["unit"],
            reference=data["reference"],
            reference_value=data["reference_value"],
            goal=Goal.parse(data["goal"]) if data["goal"] is not None else None,
            extra={key: value for key, value in data.items() if key not in FIELDS},
        )


def record(
    id: str,
    name: str,
    unit: str,
    values: Sequence[float],
    reference: str | None,
    reference_values: Sequence[float],
    goal: Goal | None,
    **extra: Any,
) -> Record:
    """A record of several runs: medians of both sides, and their ranges. The suite is the id's first part."""
    ranges: dict[str, Any] = {}
    if values:
        ranges |= {"runs": len(values), "min": _rounded(min(values)), "max": _rounded(max(values))}
    if reference_values:
        ranges |= {"reference_min": _rounded(min(reference_values)), "reference_max": _rounded(max(reference_values))}
    return Record(
        id=id,
        suite=id.partition(".")[0],
        name=name,
        value=statistics.median(values) if values else None,
        unit=unit,
        reference=reference,
        reference_value=statistics.median(reference_values) if reference_values else None,
        goal=goal,
        extra=ranges | extra,
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least ``share`` of them do not exceed (nearest rank)."""
    if not values:
        raise ValueError("no values")
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share must be in (0, 1]; seen: {share}")
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1]


def _plain(number: float) -> str:
    return f"{number:g}"


def _rounded(number: float | None) -> float | None:
    if number is None or number == 0 or not math.isfinite(number):
        return number
    return round(number, 6 - 1 - math.floor(math.log10(abs(number))))
