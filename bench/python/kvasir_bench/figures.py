"""Writes the README's table of figures from the JSON of ``./kvasir bench``: ``python -m kvasir_bench.figures FILE``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kvasir_ops import home

BEGIN = "<!-- figures: begin, written by `python -m kvasir_bench.figures` -->"
END = "<!-- figures: end -->"

# The records that a reader of the README asks for first.
SHOWN = (
    "engine.load.1m.64",
    "engine.load.1m.512",
    "engine.store.1m.64",
    "control.lookup.512",
    "ssd.read.1m",
    "ssd.write.1m",
    "restart.first_hit",
    "restart.lost",
    "restart.wrong",
    "memory.rss",
)


def figures_table(records: Sequence[Mapping[str, Any]]) -> str:
    """The shown records as Markdown. A record that is not there is left out; a missed goal is shown as missed."""
    by_id = {record["id"]: record for record in records}
    lines = ["| what | measured | limit or peer in the same run | ratio | goal met |", "|---|---:|---:|---:|---|"]
    for identity in SHOWN:
        if identity in by_id:
            record = by_id[identity]
            unit = record["unit"]
            lines.append(
                f"| {record['name']} (`{identity}`) | {_number(record['value'], unit)} "
                f"| {_number(record['reference_value'], unit)} | {_number(record['ratio'])} "
                f"| {'yes' if record['met'] else '**no**'} |"
            )
    if len(lines) == 2:
        raise ValueError(f"none of the records is one of {', '.join(SHOWN)}")
    machine = next((record["machine"] for record in records if record.get("machine")), None)
    if machine:
        lines += ["", f"Measured on: {', '.join(f'{name} {value}' for name, value in machine.items())}."]
    return "\n".join(lines)


def replace_figures(page: str, table: str) -> str:
    """The page with the part between the marks replaced.

    Raises:
        ValueError: the marks are not there.
    """
    begin, end = page.find(BEGIN), page.find(END)
    if not 0 <= begin < end:
        raise ValueError(f"the page has no '{BEGIN}' before a '{END}'")
    return f"{page[: begin + len(BEGIN)]}\n{table}\n{page[end:]}"


def _number(value: float | None, unit: str = "") -> str:
    if value is None:
        return "-"
    digits = f"{value:,.0f}" if abs(value) >= 1000 or float(value).is_integer() else f"{value:.3g}"
    return f"{digits} {unit}".rstrip()


def main() -> int:
    """Rewrites README.md, or another page that has the marks."""
    parser = argparse.ArgumentParser(prog="python -m kvasir_bench.figures", description=__doc__)
    parser.add_argument("records", type=Path, nargs="+", help="JSON of ./kvasir bench; later files win")
    parser.add_argument("--page", type=Path, help="the page to write (default: README.md)")
    options = parser.parse_args()
    page = options.page or home() / "README.md"
    records = [record for file in options.records for record in json.loads(file.read_text(encoding="utf-8"))]
    page.write_text(
        replace_figures(page.read_text(encoding="utf-8"), figures_table(records)),
        encoding="utf-8",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
