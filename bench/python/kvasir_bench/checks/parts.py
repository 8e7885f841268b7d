"""The parts of ``./kvasir test``: what each one runs, and why it cannot run when it cannot."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kvasir_bench.checks import conformance
from kvasir_bench.environments import (
    CPU_ENGINE,
    SGLANG_VERSION,
    VLLM_VERSIONS,
    Environment,
    sglang,
    vllm,
)

PYTHON_TREES = ("client", "ops/python", "bench/python", "connector-vllm", "connector-sglang", "router")
# Tests that run for long, or that run whole nodes, carry one of these tags (JUnit) or markers (pytest); --quick leaves
# them out.
NOT_QUICK = ("slow", "integration")
# A connector's tests that need its engine carry this marker; only --engines runs them.
ENGINE = "engine"
# Of those, what does not depend on the engine's version: only the newest that is given runs it.
ONE_VERSION = "one_version"
# Their tests hold deadlines of nodes that are paused and killed, and have the machine for themselves.
ALONE = ("client", "ops/python")
# What a tree's tests run with beside its own sources.
BESIDE = {"connector-vllm": (), "connector-sglang": (), "router": ("connector-vllm",)}
ENGINE_BOUND_S = 3600.0


def _no_reports() -> list[Path]:
    return []


def _no_obstacle() -> str:
    return ""


@dataclass(frozen=True)
class Part:
    """One command with a runner of its own.

    ``reports`` gives the JUnit XML files that the command leaves behind; a part without counts as one test.
    ``unavailable`` says why the part cannot run here, or is empty; ``obstacle`` is asked the same when its turn has
    come, and may wait. ``holds_build_lock`` is for commands that write into the build folders of the tree.
    ``shares_machine``: another such part may run at the same time.
    """

    name: str
    command: Sequence[str]
    cwd: Path
    bound_s: float
    reports: Callable[[], list[Path]] = _no_reports
    has_tests: bool = False
    unavailable: str = ""
    obstacle: Callable[[], str] = _no_obstacle
    holds_build_lock: bool = False
    shares_machine: bool = False
    environment: dict[str, str] = field(default_factory=dict)


def engine_environments(vllm_versions: Sequence[str] = VLLM_VERSIONS) -> list[Environment]:
    """Those in which :func:`parts` runs engines, in the order in which they are best made."""
    return [*map(vllm, vllm_versions[:1]), sglang(SGLANG_VERSION), *map(vllm, vllm_versions[1:])]


def parts(
    home: Path,
    quick: bool,
    obstacle: Callable[[Environment], str] | None = None,
    vllm_versions: Sequence[str] = VLLM_VERSIONS,
) -> list[Part]:
    """All parts in the order in which they run: the fast ones first.

    Args:
        home: the checkout.
        quick: leave out what is marked as slow or integration.
        obstacle: also run connectors inside real engines; says why an environment of :func:`engine_environments`
            cannot be had, or nothing once it is there.
        vllm_versions: the versions of vLLM for that.
    """
    trees = [tree for tree in PYTHON_TREES if (home / tree).is_dir()]
    found = [
        Part("format (Python)", [*_tool("ruff"), "format", "--check", *trees], home, 60),
        Part("lint (Python)", [*_tool("ruff"), "check", *trees], home, 60),
        *(_types(home, tree) for tree in trees),
        _shell(home),
        Part(
            "format (Java)",
            ["./mvnw", "-B", "-ntp", "-q", "-Pbench", "spotless:check"],
            home,
            300,
            holds_build_lock=True,
        ),
        _java(home, quick),
        *(_pytest(home, tree, quick) for tree in trees),
    ]
    if not quick and (home / conformance.FOLDER).is_dir():
        found.append(_conformance(home))
    if obstacle:
        newest = max(vllm_versions, key=lambda version: tuple(map(int, re.findall(r"\d+", version))))
        older = [version for version in vllm_versions if version != newest]
        # The longest begin first, because two run at a time.
        found.append(_engine(home, "connector-vllm", vllm(newest), obstacle))
        for version in older:
            found.append(_engine(home, "connector-vllm", vllm(version), obstacle, f"{ENGINE} and not {ONE_VERSION}"))
        found.append(_engine(home, "connector-sglang", sglang(SGLANG_VERSION), obstacle))
        found.append(_engine(home, "router", vllm(vllm_versions[0]), obstacle))
    return found


def _tool(name: str) -> list[str]:
    return [sys.executable, "-m", name]


def _types(home: Path, tree: str) -> Part:
    return Part(f"types ({tree})", [*_tool("mypy"), "--strict"], home / tree, 300)


def _shell(home: Path) -> Part:
    missing = (
        "" if shutil.which("shellcheck") else "shellcheck is not installed (Debian, Ubuntu: apt install shellcheck)"
    )
    return Part("lint (shell)", ["shellcheck", "kvasir", ".ci/run"], home, 60, unavailable=missing)


def _java(home: Path, quick: bool) -> Part:
    command = ["./mvnw", "-B", "-ntp", "--fail-at-end", "verify"]
    if quick:
        command.append(f"-DexcludedGroups={','.join(NOT_QUICK)}")
    return Part(
        "tests (Java)",
        command,
        home,
        1500,
        reports=lambda: sorted(home.glob("*/target/surefire-reports/TEST-*.xml")),
        has_tests=True,
        holds_build_lock=True,
    )


def _pytest(home: Path, tree: str, quick: bool) -> Part:
    report = home / ".kvasir" / "reports" / f"{tree.replace('/', '-')}.xml"
    command = [*_tool("pytest"), f"--junitxml={report}"]
    left_out = [ENGINE] if tree in BESIDE else []
    left_out += NOT_QUICK if quick else ()
    if left_out:
        command += ["-m", " and ".join(f"not {marker}" for marker in left_out)]
    return Part(
        f"tests ({tree})",
        command,
        home / tree,
        900,
        reports=lambda: [report] if report.is_file() else [],
        has_tests=True,
        shares_machine=tree not in ALONE,
        environment={"PYTHONUNBUFFERED": "1", "KVASIR_HOME": os.fspath(home)},
    )


def _conformance(home: Path) -> Part:
    """The engine API's second client, in Go; it runs a real node, which --quick leaves out."""
    report = home / ".kvasir" / "reports" / "conformance.xml"
    return Part(
        "conformance (Go)",
        [*_tool("kvasir_bench.checks.conformance"), os.fspath(report)],
        home,
        900,
        reports=lambda: [report] if report.is_file() else [],
        has_tests=True,
        unavailable=conformance.unavailable(home),
        shares_machine=True,
        environment={"PYTHONUNBUFFERED": "1", "KVASIR_HOME": os.fspath(home)},
    )


def _engine(
    home: Path, tree: str, environment: Environment, obstacle: Callable[[Environment], str], chosen: str = ENGINE
) -> Part:
    """A connector's tests inside its engine: those marked ``engine``, with the Python of the engine's environment."""
    name = f"engine ({environment.title})" if tree.startswith("connector-") else f"engine ({environment.title}, {tree})"
    report = home / ".kvasir" / "reports" / f"{tree}-{environment.name}.xml"
    trees = (home / below / "src" for below in ("client", tree, *BESIDE[tree]))
    sources = [CPU_ENGINE, *trees, home / "ops" / "python", home / "bench" / "python"]
    return Part(
        name,
        [os.fspath(environment.python), "-m", "pytest", "-m", chosen, f"--junitxml={report}"],
        home / tree,
        ENGINE_BOUND_S,
        reports=lambda: [report] if report.is_file() else [],
        has_tests=True,
        obstacle=lambda: obstacle(environment),
        # Engines on one processor each, which start, wait for nodes and end: together they leave less of two idle.
        shares_machine=True,
        environment={
            "PYTHONUNBUFFERED": "1",
            "KVASIR_HOME": os.fspath(home),
            "PYTHONPATH": os.pathsep.join(map(os.fspath, sources)),
        },
    )
