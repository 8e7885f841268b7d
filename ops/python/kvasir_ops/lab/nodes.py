"""Real nodes as processes, made one cluster: on loopback, or each in a network namespace of its own."""

from __future__ import annotations

import os
import random
import secrets
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from kvasir_ops.lab.network import Network
from kvasir_ops.node_process import NodePlaces, NodeProcess, configuration

PORTS = 4
"""A node takes so many in a row: membership, directory, bytes (UDP), probe of split clusters."""
_FIRST_PORT = 7800
# Below the range from which the kernel gives ports to connections.
_LOOPBACK_PORTS = range(20_000, 32_000, PORTS)
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class NodeSettings:
    """What every node of a cluster is told. Sizes in bytes.

    ``pooled`` is False for nodes that know nothing of each other. ``more`` goes on top, by section of the
    configuration. ``jvm_options`` go on top of every node's.
    """

    dram_bytes: int
    ssd_bytes: int
    pooled: bool = True
    failure_timeout_seconds: float = 2.0
    more: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    jvm_options: str = ""


class Nodes:
    """The nodes of one cluster, by name. A context manager; owned by one thread, with which they die.

    Every name has an address and places from the start; a node runs from :meth:`start` on.
    """

    def __init__(
        self,
        home: Path,
        names: Sequence[str],
        settings: NodeSettings,
        shared_memory: Path,
        state: Path,
        network: Network | None = None,
    ) -> None:
        """Writes the configurations; starts nothing.

        Args:
            home: the repository, with the launcher.
            names: of all nodes that there will ever be.
            settings: of each.
            shared_memory: an empty directory in shared memory; the owner removes it.
            state: an empty directory on disk; the owner removes it.
            network: has a node of each name; loopback when there is none.
        """
        self._network = network
        self._stack = ExitStack()
        self._processes: dict[str, NodeProcess] = {}
        self._paused: set[str] = set()
        addresses = self._addresses(names)
        secret = secrets.token_hex(32)
        for name in names:
            places = NodePlaces(shared_memory / name, state / name)
            places.shared_memory.mkdir()
            places.state.mkdir()
            told = configuration(places, settings.dram_bytes, settings.ssd_bytes)
            if settings.pooled:
                told["cluster"] = {
                    "seeds": list(addresses.values()),
                    "address": addresses[name],
                    "secret": secret,
                    "failure_timeout": f"{round(settings.failure_timeout_seconds * 1000)}ms",
                }
            for section, values in settings.more.items():
                told[section] = told.get(section, {}) | dict(values)
            within = network.command(name, []) if network else []
            self._processes[name] = NodeProcess(home, places, told, within, settings.jvm_options)
            self._stack.callback(self._processes[name].stop)

    @property
    def names(self) -> tuple[str, ...]:
        """All, running or not."""
        return tuple(self._processes)

    @property
    def running(self) -> tuple[str, ...]:
        """Those that run, paused ones included."""
        return tuple(name for name, process in self._processes.items() if process.is_running)

    def socket(self, name: str) -> str:
        """The path of a node's engine API."""
        return os.fspath(self._processes[name].places.socket)

    def process(self, name: str) -> NodeProcess:
        """A node's process, for what this class does not do."""
        return self._processes[name]

    def start(self, *names: str) -> None:
        """Starts nodes; returns at once."""
        for name in names:
            self._processes[name].start()

    def kill(self, name: str) -> float:
        """``kill -9``; when it was sent, by ``time.monotonic``."""
        self._paused.discard(name)
        return self._processes[name].kill()

    def pause(self, name: str) -> None:
        """SIGSTOP."""
        self._processes[name].pause()
        self._paused.add(name)

    def resume(self, name: str) -> None:
        """SIGCONT."""
        self._processes[name].resume()
        self._paused.discard(name)

    def state(self, name: str) -> str:
        """A word for people."""
        if not self._processes[name].is_running:
            return "down"
        return "paused" if name in self._paused else "up"

    def check(self) -> None:
        """Raises when one has ended by itself.

        Raises:
            NodeFailedError: with the end of its log.
        """
        for process in self._processes.values():
            process.check()

    def close(self) -> None:
        """Stops all. Idempotent."""
        self._stack.close()

    def __enter__(self) -> Nodes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _addresses(self, names: Sequence[str]) -> dict[str, str]:
        if self._network is not None:
            return {name: f"{self._network.address(name)}:{_FIRST_PORT}" for name in names}
        return {name: f"{_LOOPBACK}:{port}" for name, port in zip(names, free_ports(len(names)), strict=True)}


def free_ports(count: int) -> list[int]:
    """First ports of ``count`` runs of :data:`PORTS` ports of loopback that nobody has now, for TCP and for UDP."""
    found: list[int] = []
    for first in random.SystemRandom().sample(_LOOPBACK_PORTS, len(_LOOPBACK_PORTS)):
        if len(found) == count:
            return found
        if all(_is_free(kind, first + place) for place in range(PORTS) for kind in _KINDS):
            found.append(first)
    raise OSError(f"no {count} runs of {PORTS} free ports between {_LOOPBACK_PORTS.start} and {_LOOPBACK_PORTS.stop}")


_KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM)


def _is_free(kind: socket.SocketKind, port: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as tried:
        try:
            tried.bind((_LOOPBACK, port))
        except OSError:
            return False
    return True
