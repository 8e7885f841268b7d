"""The parts of ``./kvasir test --long``: campaigns that are too long for every change, each with a small form for CI.

A small form runs the same command for a shorter time. Neither form judges a time: of a campaign's records only those
named here decide, and the figures are printed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kvasir_bench.checks.parts import Part

SIMULATION_STEPS = 1_000_000
KILLS, FEW_KILLS = 1000, 20
HOSTILE_S, SHORT_HOSTILE_S = 600, 60


def _kills(home: Path, small: bool) -> Part:
    kills = FEW_KILLS if small else KILLS
    arguments = ["restart", "--kills", str(kills)]
    if not small:
        # The state belongs to one build: kills of another one prove nothing about this one.
        build = Path(os.environ.get("KVASIR_BUILD", "build")).name
        state = home / ".kvasir" / "long" / f"kills-{build}.json"
        state.parent.mkdir(parents=True, exist_ok=True)
        arguments += ["--resume", os.fspath(state)]
    return Part(f"kills ({kills})", _bench(arguments, ["restart.lost", "restart.wrong"]), home, 60.0 + 30.0 * kills)


def _hostile(home: Path, small: bool) -> Part:
    seconds = SHORT_HOSTILE_S if small else HOSTILE_S
    arguments = ["hostile", "--seconds", str(seconds)]
    if small:
        # Nobody compares the times of a small form.
        arguments.append("--no-control")
    # The control takes as long as the attack, and the start compiles the strategies.
    bound = 900.0 + 4 * seconds
    return Part(f"hostile engines ({seconds} s)", _bench(arguments, ["hostile.violations", "hostile.rss"]), home, bound)


def _simulation(home: Path, small: bool) -> Part:
    tests = ("StoreModelTest", "NodesSimulationTest")
    return Part(
        "simulation of stores and cluster",
        [
            *("./mvnw", "-B", "-ntp", "-q", "-pl", "storage,node", "-am", "test", f"-Dtest={','.join(tests)}"),
            "-Dsurefire.failIfNoSpecifiedTests=false",
            f"-Dkvasir.simulation.operations={SIMULATION_STEPS}",
        ],
        home,
        4 * 3600,
        reports=lambda: [
            report for test in tests for report in sorted(home.glob(f"*/target/surefire-reports/TEST-*.{test}.xml"))
        ],
        has_tests=True,
        unavailable="every ./kvasir test runs the small form" if small else "",
        holds_build_lock=True,
    )


def _jcstress(home: Path, small: bool) -> Part:
    return Part(
        f"jcstress ({'short' if small else 'full'})",
        [sys.executable, "-m", "kvasir_bench.checks.stress", *(["--small"] if small else [])],
        home,
        600.0 if small else 7200.0,
        environment={"KVASIR_HOME": os.fspath(home)},
    )


LONG_PARTS: Mapping[str, Callable[[Path, bool], Part]] = {
    "kills": _kills,
    "hostile": _hostile,
    "simulation": _simulation,
    "jcstress": _jcstress,
}


def long_parts(home: Path, names: Sequence[str], small: bool) -> list[Part]:
    """The named campaigns, or all of them when none is named.

    Args:
        home: the checkout.
        names: keys of :data:`LONG_PARTS`.
        small: the form for CI.
    """
    return [LONG_PARTS[name](home, small) for name in names or LONG_PARTS]


def _bench(arguments: Sequence[str], required: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "kvasir_bench.checks.goals", *(f"--require={name}" for name in required), *arguments]
