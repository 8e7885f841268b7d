"""The parts of ``./kvasir test``: what each one runs, and why it cannot run when it cannot."""

from __future__ import annotations

import os
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
    EnvironmentUnavailableError,
    prepare,
    sglang,
    vllm,
)

PYTHON_TREES = ("client", "ops/python", "bench/python", "connector-vllm", "connector-sglang", "router")
# Tests that run for long carry this tag (JUnit) or marker (pytest); --quick leaves them out.
SLOW = "slow"
# A connector's tests that need its engine carry this marker; only --engines runs them.
ENGINE = "engine"
# Of those, what does not depend on the engine's version: only the first version that is given runs it.
ONE_VERSION = "one_version"
# What a tree's tests run with beside its own sources.
BESIDE = {"connector-vllm": (), "connector-sglang": (), "router": ("connector-vllm",)}
ENGINE_BOUND_S = 3600.0


def _no_reports() -> list[Path]:
    return []


@dataclass(frozen=True)
class Part:
    """One command with a runner of its own.

    ``reports`` gives the JUnit XML files that the command leaves behind; a part without counts as one test.
    ``unavailable`` says why the part cannot run here, or is empty. ``holds_build_lock`` is for commands that write
    into the build folders of the tree.
    """

    name: str
    command: Sequence[str]
    cwd: Path
    bound_s: float
    reports: Callable[[], list[Path]] = _no_reports
    has_tests: bool = False
    unavailable: str = ""
    holds_build_lock: bool = False
    environment: dict[str, str] = field(default_factory=dict)


def parts(home: Path, quick: bool, engines: bool, vllm_versions: Sequence[str] = VLLM_VERSIONS) -> list[Part]:
    """All parts in the order in which they run: the fast ones first.

    Args:
        home: the checkout.
        quick: leave out what is marked as slow or integration.
        engines: also run connectors inside real engines, in environments that are made when they are not there.
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
    if engines:
        for at, version in enumerate(vllm_versions):
            left_out = f" and not {ONE_VERSION}" if at else ""
            found.append(_engine(home, "connector-vllm", vllm(version), ENGINE + left_out))
        found.append(_engine(home, "router", vllm(vllm_versions[0])))
        found.append(_engine(home, "connector-sglang", sglang(SGLANG_VERSION)))
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
        command.append(f"-DexcludedGroups={SLOW}")
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
    left_out += [SLOW, "integration"] if quick else []
    if left_out:
        command += ["-m", " and ".join(f"not {marker}" for marker in left_out)]
    return Part(
        f"tests ({tree})",
        command,
        home / tree,
        900,
        reports=lambda: [report] if report.is_file() else [],
        has_tests=True,
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
        environment={"PYTHONUNBUFFERED": "1", "KVASIR_HOME": os.fspath(home)},
    )


def _engine(home: Path, tree: str, environment: Environment, chosen: str = ENGINE) -> Part:
    """A connector's tests inside its engine: those marked ``engine``, with the Python of the engine's environment."""
    name = f"engine ({environment.title})" if tree.startswith("connector-") else f"engine ({environment.title}, {tree})"
    report = home / ".kvasir" / "reports" / f"{tree}-{environment.name}.xml"
    try:
        python = prepare(environment, lambda text: print(text, file=sys.stderr, flush=True))
    except EnvironmentUnavailableError as error:
        return Part(name, [], home, 0, unavailable=str(error))
    trees = (home / below / "src" for below in ("client", tree, *BESIDE[tree]))
    sources = [CPU_ENGINE, *trees, home / "ops" / "python", home / "bench" / "python"]
    return Part(
        name,
        [os.fspath(python), "-m", "pytest", "-m", chosen, f"--junitxml={report}"],
        home / tree,
        ENGINE_BOUND_S,
        reports=lambda: [report] if report.is_file() else [],
        has_tests=True,
        environment={
            "PYTHONUNBUFFERED": "1",
            "KVASIR_HOME": os.fspath(home),
            "PYTHONPATH": os.pathsep.join(map(os.fspath, sources)),
        },
    )
