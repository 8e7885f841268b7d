"""Runs the jcstress tests of the folder ``bench`` as a check: it fails when an outcome was seen that is forbidden.

jcstress runs each test in JVMs with different compilers and flags, and gathers what the two threads saw.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress

from kvasir_ops import home

from kvasir_bench.java_bench import JavaBenchError, prepare

RESULTS = re.compile(r"Results: (\d+) planned; (\d+) passed, (\d+) failed, (\d+) soft errs, (\d+) hard errs")
# All that is under way has a slot of its own in a table of 65,536; a small heap keeps it far below that.
USUAL = ("-af", "NONE", "-hs", "256")
# For Agrona's queues. Of the flags of a Kvasir process the tests need no other, and jcstress prints them all.
OPENED = "--add-opens=java.base/jdk.internal.misc=ALL-UNNAMED"
# One kind of JVM: the optimizing compiler, which reorders most, with its choices at random.
REORDERING = (
    f"{OPENED} -XX:+UnlockDiagnosticVMOptions -XX:-TieredCompilation -XX:+StressLCM -XX:+StressGCM -XX:+StressIGVN"
)
SMALL = ("-sc", "false", "-f", "1", "-iters", "3", "-time", "400", "-jvmArgs", REORDERING)
FULL = ("-sc", "true", "-f", "2", "-iters", "5", "-time", "1000")


def problems(status: int, output: str) -> list[str]:
    """Why the check fails, by jcstress's exit status and what it printed."""
    found = [f"jcstress ended with status {status}"] if status else []
    counts = RESULTS.findall(output)
    if not counts:
        return [*found, "jcstress printed no results"]
    planned, passed, failed, soft, hard = (int(count) for count in counts[-1])
    if planned == 0 or passed != planned:
        found.append(f"{planned} runs were planned, {passed} passed, {failed} failed, {soft + hard} had errors")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 when all tests ran and no outcome was forbidden."""
    parser = argparse.ArgumentParser(prog="kvasir_bench.checks.stress", description=__doc__)
    parser.add_argument("--small", action="store_true", help="each test for a short time")
    parser.add_argument("--test", default=".*", metavar="REGEX", help="only tests with such a name")
    options = parser.parse_args(arguments)
    try:
        programs = prepare(home(), lambda text: print(text, flush=True))
    except JavaBenchError as error:
        print(f"failed: {error}", flush=True)
        return 1
    with tempfile.TemporaryDirectory(prefix="kvasir-jcstress-") as directory:
        mode = SMALL if options.small else FULL
        arguments = (*USUAL, *mode, "-t", options.test, "-r", directory)
        command = programs.command("org.openjdk.jcstress.Main", *arguments, flags=[OPENED], usual=False)
        status, output = _run(command, directory)
    found = problems(status, output)
    for problem in found:
        print(f"failed: {problem}", flush=True)
    return 1 if found else 0


def _run(command: Sequence[str], directory: str) -> tuple[int, str]:
    """Exit status and output, which is shown as it comes. jcstress leaves files where it runs."""
    lines: list[str] = []
    process = subprocess.Popen(
        command,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            lines.append(line)
        return process.wait(), "".join(lines)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
