"""A campaign of kills: what each kill showed, kept in a file so that an interrupted campaign goes on where it stopped.

The file has one JSON object a line, written as soon as it is known. ``part`` begins the kills of one node, with its
seed, commit, date and the start time of an empty node; ``kill`` is a kill and ``failed`` one that could not run, each
of the part before it. A line that was torn by an interruption is passed over.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kvasir_bench.records import Record, at_most, record

FIRST_HIT_LIMIT_S = 3.0


@dataclass
class Kill:
    """What one kill showed."""

    acknowledged_before: int
    expected_dram: int = 0
    expected_newest: int = 0
    expected_ssd: int = 0
    hits: int = 0
    lost_headers: int = 0
    lost_newest: int = 0
    lost_ssd: int = 0
    evicted_untold: int = 0
    evicted_in_check: int = 0
    damaged: int = 0
    late: int = 0
    wrong: int = 0
    wrong_under_load: int = 0
    seconds: float = 0.0
    spent_s: dict[str, float] = field(default_factory=dict)
    """Of ``seconds``: load before the kill, the dead node's files, the start to the first hits, the check."""
    first_hit_s: dict[str, float] = field(default_factory=dict)
    lost_objects: list[dict[str, Any]] = field(default_factory=list)
    """What is known of the first of those that were lost (``kvasir_bench.lost_objects``)."""
    counters: dict[str, float] = field(default_factory=dict)
    """Of the node that did not give them back, since its start; empty when nothing was lost."""

    @property
    def lost_dram(self) -> int:
        """Committed and not evicted, and gone."""
        return self.lost_headers + self.lost_newest

    @property
    def lost(self) -> int:
        """All objects that had to be there and were not."""
        return self.lost_dram + self.lost_ssd + self.damaged

    @property
    def is_proof(self) -> bool:
        """Whether something was acknowledged before, and each tier that had objects gave one back."""
        there = "dram" in self.first_hit_s and ("ssd" in self.first_hit_s or self.expected_ssd == 0)
        return there and self.acknowledged_before > 0

    def as_json(self) -> dict[str, Any]:
        """For the record."""
        rounded = {
            name: {of: round(value, 3) for of, value in getattr(self, name).items()}
            for name in ("first_hit_s", "spent_s")
        }
        return vars(self) | {"seconds": round(self.seconds, 2)} | rounded


@dataclass
class Part:
    """The kills of one node."""

    seed: int
    commit: str
    date: str
    empty_start_s: float
    kills: int = 0


class Campaign:
    """The kills so far, and the file that keeps them. Closed by its owner."""

    def __init__(self, file: Path | None) -> None:
        """Reads what the file has. ValueError when it is something else than a campaign."""
        self.parts: list[Part] = []
        self.kills: list[Kill] = []
        self.failures: list[str] = []
        self._file = None
        if file is not None:
            if file.exists():
                self._read(file)
            self._file = file.open("a", encoding="utf-8")
            if file.stat().st_size and not file.read_bytes().endswith(b"\n"):
                self._file.write("\n")

    def _read(self, file: Path) -> None:
        lines = file.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
                if "part" in entry:
                    self.parts.append(Part(**entry["part"]))
                elif "kill" in entry:
                    self._count(Kill(**entry["kill"]))
                else:
                    self.failures.append(entry["failed"])
            except (ValueError, TypeError, KeyError, IndexError) as error:
                if self.parts and isinstance(error, json.JSONDecodeError):
                    continue
                raise ValueError(f"{file} is not the state of a campaign: line {number}: {error}") from error

    def begin(self, seed: int, commit: str, empty_start_s: float) -> None:
        """A node of its own begins its kills."""
        date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        self.parts.append(Part(seed, commit, date, round(empty_start_s, 3)))
        self._keep({"part": dataclasses.asdict(self.parts[-1])})

    def add(self, kill: Kill) -> None:
        """A kill ran."""
        self._count(kill)
        self._keep({"kill": kill.as_json()})

    def add_failure(self, why: str) -> None:
        """A kill could not run."""
        self.failures.append(why)
        self._keep({"failed": why})

    def _count(self, kill: Kill) -> None:
        self.kills.append(kill)
        self.parts[-1].kills += 1

    def _keep(self, entry: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()

    @property
    def unproved(self) -> int:
        """Kills that say nothing: nothing was acknowledged before, or a tier gave nothing back."""
        return sum(not kill.is_proof for kill in self.kills)

    def summary(self) -> str:
        """All kills so far in a line."""
        hits = [max(kill.first_hit_s.values()) for kill in self.kills if kill.first_hit_s]
        counts = {
            name: sum(getattr(kill, name) for kill in self.kills)
            for name in ("hits", "lost", "wrong", "evicted_untold", "late")
        }
        return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items()) + (
            f", slowest first hit {max(hits):.2f} s" if hits else ""
        )


def commit_of(home: Path) -> str:
    """The commit of a checkout, marked when files differ from it; ``unknown`` where there is none."""
    command = ["git", "-C", str(home), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return "unknown"
    return found.stdout.strip() or "unknown"


def records(campaign: Campaign) -> Iterator[Record]:
    """The three records, over all kills of the campaign."""
    kills: Sequence[Kill] = campaign.kills
    about: dict[str, Any] = {
        "kills": len(kills),
        "could_not_run": len(campaign.failures),
        "unproved": campaign.unproved,
        "parts": [dataclasses.asdict(part) for part in campaign.parts],
    }
    slowest = [max(kill.first_hit_s.values()) for kill in kills if kill.first_hit_s]
    medians = {
        f"{tier}_median": round(statistics.median(of_tier), 3)
        for tier in ("dram", "ssd")
        if (of_tier := [kill.first_hit_s[tier] for kill in kills if tier in kill.first_hit_s])
    }
    if slowest:
        yield record(
            "restart.first_hit",
            f"from the new start to the first verified hits from DRAM and from SSD, the slowest of {len(kills)} kills",
            "s",
            [max(slowest)],
            "the same node on empty directories, to the first verified hit of an object stored then",
            [part.empty_start_s for part in campaign.parts],
            at_most(plus=FIRST_HIT_LIMIT_S),
            median=round(statistics.median(slowest), 3),
            **medians,
            **about,
        )
    yield record(
        "restart.lost",
        f"objects that had to be there after kill -9 and were not, over {len(kills)} kills under load",
        "objects",
        [float(sum(kill.lost for kill in kills))],
        "objects that had to be there: committed in DRAM at the kill, or reported durable on SSD",
        [float(sum(kill.hits + kill.lost_dram + kill.lost_ssd for kill in kills))],
        at_most(),
        lost_dram=sum(kill.lost_dram for kill in kills),
        lost_ssd=sum(kill.lost_ssd for kill in kills),
        damaged=sum(kill.damaged for kill in kills),
        late=sum(kill.late for kill in kills),
        evicted_untold=sum(kill.evicted_untold for kill in kills),
        evicted_in_check=sum(kill.evicted_in_check for kill in kills),
        each=[kill.as_json() for kill in kills],
        **about,
    )
    yield record(
        "restart.wrong",
        f"wrong bytes over {len(kills)} kills, under load and after each start",
        "bytes",
        [float(sum(kill.wrong + kill.wrong_under_load for kill in kills))],
        "objects that were loaded and compared after the kills, all their bytes",
        [float(sum(kill.hits for kill in kills))],
        at_most(),
        **about,
    )
