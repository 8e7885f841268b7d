"""vLLM's own tests, which its source distribution has and its wheels lack: fetched once, outside the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from kvasir_bench.environments import Environment, EnvironmentUnavailableError, cache_directory, prepare, vllm

_BOUND_S = 600.0
#: What vLLM's setup.py imports beside torch: pip asks it for the name and version before it keeps what it downloaded.
_BUILD_TOOLS = ("setuptools==84.2.1", "setuptools-rust==1.13.0", "setuptools-scm==10.3.4")


def checkout(version: str, say: Callable[[str], None]) -> Path:
    """A folder with the ``tests`` of that version's sources.

    Raises:
        EnvironmentUnavailableError: a registry did not answer, or does not have it.
    """
    place = cache_directory() / "sources" / f"vllm-{version}"
    if (place / "tests").is_dir():
        return place
    title = f"vLLM {version}, its tests"
    tools = Environment(f"vllm-{version}-sources", title, (_BUILD_TOOLS,), "45 MB", vllm(version))
    python = prepare(tools, say)
    with tempfile.TemporaryDirectory(prefix="kvasir-vllm-sources-") as downloaded:
        _download(python, version, Path(downloaded))
        place.parent.mkdir(parents=True, exist_ok=True)
        unpacked = Path(tempfile.mkdtemp(prefix=f"vllm-{version}-", dir=place.parent))
        try:
            for archive in Path(downloaded).glob("*.tar.gz"):
                _unpack(archive, unpacked)
            if (unpacked / "tests").is_dir():
                unpacked.rename(place)
        except OSError:
            if not place.is_dir():  # else another process was here first
                raise
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
    if not place.is_dir():
        raise EnvironmentUnavailableError(f"the sources of vLLM {version} have no tests")
    return place


def _download(python: Path, version: str, place: Path) -> None:
    command = [
        str(python), "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--no-binary", "vllm", "--no-build-isolation", "--dest", str(place), f"vllm=={version}",
    ]  # fmt: skip
    # Nothing is built; and the version is the asked one, not one of a build without a GPU, which pip would refuse.
    environment = os.environ | {"VLLM_TARGET_DEVICE": "empty", "VLLM_VERSION_OVERRIDE": version}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=_BOUND_S, check=False)
    except subprocess.TimeoutExpired:
        raise EnvironmentUnavailableError(f"the sources of vLLM {version} did not come in {_BOUND_S:.0f} s") from None
    if done.returncode != 0:
        raise EnvironmentUnavailableError(f"the sources of vLLM {version} cannot be had: {done.stderr.strip()[-300:]}")


def _unpack(archive: Path, place: Path) -> None:
    with tarfile.open(archive) as packed:
        for member in packed:
            _, _, inside = member.name.partition("/")
            if inside.startswith("tests/") and (member.isfile() or member.isdir()):
                member.name = inside
                packed.extract(member, place, filter="data")
