"""Runs suites of ``kvasir bench`` as a check: it fails when a required record is missing or missed its goal.

``kvasir bench --check`` fails for any missed goal, times included. A check of correctness must not depend on how busy
the machine is, so it names the records that decide.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kvasir_bench.records import Record
from kvasir_bench.report import figure


def problems(records: Sequence[Record], required: Sequence[str]) -> list[str]:
    """Why the check fails: a sentence for each required record that is missing or missed its goal."""
    by_id = {item.id: item for item in records}
    found = [f"there is no record {name}" for name in required if name not in by_id]
    missed = [by_id[name] for name in required if name in by_id and not by_id[name].met]
    return found + [f"{item.id} is {figure(item.value, item.unit)}, which misses its goal" for item in missed]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 when the benchmark ran and every required record met its goal."""
    parser = argparse.ArgumentParser(prog="kvasir_bench.checks.goals", description=__doc__)
    parser.add_argument("--require", action="append", default=[], metavar="RECORD", help="the id of a record")
    options, bench = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory(prefix="kvasir-goals-") as directory:
        output = Path(directory) / "records.json"
        status = subprocess.call([sys.executable, "-m", "kvasir_bench", *bench, "--json", str(output)])
        if status != 0:
            return status
        found = problems([Record.from_json(entry) for entry in json.loads(output.read_text())], options.require)
    for problem in found:
        print(f"failed: {problem}", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
