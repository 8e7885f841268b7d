"""Makes the environment of each peer, once, outside the repository, and says what is missing when that cannot be done.

They are big (LMCache brings a CUDA build of torch), so they stay in the user's cache and are used again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

INSTALL_BOUND_S = 1800
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--progress-bar", "off")


class PeerUnavailableError(Exception):
    """A peer cannot run on this machine; the message says why and what to do."""


@dataclass(frozen=True)
class Peer:
    """One system to compare with: what pip installs, what the system must have, and which script drives it."""

    name: str
    title: str
    version: str
    requirements: Sequence[str]
    driver: str
    disk: str
    system_binary: str | None = None
    system_library: str | None = None
    system_package: str | None = None


LMCACHE = Peer("lmcache", "LMCache", "0.5.6", ("lmcache==0.5.6",), "lmcache_driver.py", "6.2 GB, about 3 minutes")
MOONCAKE = Peer(
    "mooncake",
    "Mooncake",
    "0.3.13.post1",
    ("mooncake-transfer-engine-non-cuda==0.3.13.post1", "numpy"),
    "mooncake_driver.py",
    "260 MB",
    system_library="libibverbs.so.1",
    system_package="libibverbs1",
)
REDIS = Peer(
    "redis",
    "Redis",
    "redis-py 8.1.0",
    ("redis==8.1.0", "hiredis", "numpy"),
    "redis_driver.py",
    "100 MB",
    system_binary="redis-server",
    system_package="redis-server",
)
PEERS = (LMCACHE, MOONCAKE, REDIS)


def cache_directory() -> Path:
    """Where environments live: ``$XDG_CACHE_HOME/kvasir`` or ``~/.cache/kvasir``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "kvasir"


def prepare(peer: Peer, install_system: bool, say: Callable[[str], None]) -> Path:
    """The Python of the peer's environment, made when it is not there.

    Raises:
        PeerUnavailableError: a system package is missing, or pip failed.
    """
    _require_system(peer, install_system, say)
    slug = peer.version.replace(" ", "-")
    place = cache_directory() / f"peers-{peer.name}-{slug}"
    python = place / "bin" / "python"
    ready = place / "kvasir-requirements.txt"
    wanted = "\n".join(peer.requirements)
    if ready.exists() and ready.read_text() == wanted:
        return python
    say(f"{peer.title}: making its environment in {place} ({peer.disk}) ...")
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "venv", str(place)], peer, place, say)
    _run([str(python), *PIP, *peer.requirements], peer, place, say)
    ready.write_text(wanted)
    return python


def _require_system(peer: Peer, install: bool, say: Callable[[str], None]) -> None:
    if _has_system(peer):
        return
    assert peer.system_package is not None
    missing = peer.system_binary or peer.system_library
    if not install:
        raise PeerUnavailableError(
            f"{missing} is not on this machine; install {peer.system_package}, or give --install-system to have it done"
        )
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise PeerUnavailableError(f"--install-system needs root and apt-get; install {peer.system_package} by hand")
    say(f"{peer.title}: installing {peer.system_package} with apt-get ...")
    # A policy that denies starting services: the suite starts what it needs by itself.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", peer.system_package]):
        done = subprocess.run(["apt-get", "-q", *command], env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise PeerUnavailableError(f"apt-get {command[0]} failed: {done.stderr.strip()[-300:]}")
    if not _has_system(peer):
        raise PeerUnavailableError(f"{peer.system_package} is installed, and {missing} is still not found")


def _has_system(peer: Peer) -> bool:
    if peer.system_binary is not None:
        return shutil.which(peer.system_binary) is not None
    if peer.system_library is not None:
        ldconfig = shutil.which("ldconfig", path=os.environ.get("PATH", "") + ":/sbin:/usr/sbin")
        if ldconfig is None:
            return True
        listed = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=False).stdout
        return peer.system_library in listed
    return True


def _run(command: Sequence[str], peer: Peer, place: Path, say: Callable[[str], None]) -> None:
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
                        raise PeerUnavailableError(f"{command[0]} did not end within {INSTALL_BOUND_S} s") from None
                    say(f"  {peer.title}: {passed:.0f} s, {_mebibytes(place):.0f} MiB")
        finally:
            if process.poll() is None:
                process.kill()
        if process.returncode != 0:
            raise PeerUnavailableError(f"{' '.join(command[1:])} failed: {errors.strip()[-500:]}")


def _mebibytes(place: Path) -> float:
    return sum(item.lstat().st_blocks * 512 for item in place.rglob("*") if item.is_file()) / 2**20
