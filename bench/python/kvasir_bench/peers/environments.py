"""The peers' environments, and what a peer needs of the system; says what is missing when one cannot run here."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kvasir_bench.environments import Environment, EnvironmentUnavailableError
from kvasir_bench.environments import prepare as prepare_environment


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


def prepare(peer: Peer, install_system: bool, say: Callable[[str], None]) -> Path:
    """The Python of the peer's environment, made when it is not there.

    Raises:
        PeerUnavailableError: a system package is missing, or pip failed.
    """
    require_system(peer, install_system, say)
    name = f"peer-{peer.name}-{peer.version.replace(' ', '-')}"
    try:
        return prepare_environment(Environment(name, peer.title, (tuple(peer.requirements),), peer.disk), say)
    except EnvironmentUnavailableError as error:
        raise PeerUnavailableError(str(error)) from error


def require_system(peer: Peer, install: bool, say: Callable[[str], None]) -> None:
    """Makes sure that the system has what the peer's package does not bring.

    Raises:
        PeerUnavailableError: it is missing, and may or can not be installed.
    """
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
