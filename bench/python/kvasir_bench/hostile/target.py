"""The node that is attacked: as the launcher starts it, small, with three tenants that have tokens."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path

from kvasir_ops.node_process import NodeFailedError, NodePlaces, NodeProcess

from kvasir_bench.context import Context
from kvasir_bench.hostile.budget import Resident, resident
from kvasir_bench.peers.drivers.protocol import free_port, wait_until

TOKENS = {name: f"{name}-{name}-{name}-{name}" for name in ("shared", "quiet", "damaged")}
START_S = 60.0
CRASH_REPORT = "hs_err.log"
CRASH_FRAMES = 20
HTTP_S = 5.0
SETTINGS = {"dram": {"capacity": "256MiB"}, "ssd": {"capacity": "512MiB"}}
HOSTILE_ONLY = ("kvasir_node_held_requests", "kvasir_node_held_bytes", "kvasir_storage_quarantined_bytes")
NEVER = ('kvasir_node_faults_total{reason="internal"', 'kvasir_node_errors_total{code="internal"')


class Target:
    """Starts the node, watches it from outside, and stops it."""

    def __init__(self, context: Context) -> None:
        directory, shared_memory = context.directory / "node", context.shared_memory / "node"
        directory.mkdir()
        shared_memory.mkdir()
        places = NodePlaces(shared_memory, directory)
        self.socket = os.fspath(places.socket)
        self._port = free_port()
        self._process = NodeProcess(
            context.home,
            places,
            {
                "engine": {"socket": self.socket},
                "dram": {"directory": os.fspath(shared_memory / "dram"), **SETTINGS["dram"]},
                "ssd": {"directory": os.fspath(directory / "ssd"), **SETTINGS["ssd"]},
                "http": {"address": f"127.0.0.1:{self._port}"},
                "tenants": [{"name": name, "token": token} for name, token in TOKENS.items()],
            },
            jvm_options=f"-XX:ErrorFile={directory / CRASH_REPORT}",
        )
        self._crash_report = directory / CRASH_REPORT
        self._pid = 0

    def start(self) -> None:
        """Returns when the node is ready."""
        self._process.start()
        self._pid = self._process.pid
        wait_until(self._is_ready, "the node", START_S)

    def _is_ready(self) -> bool:
        self._process.check()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health/ready", timeout=HTTP_S):
                return Path(self.socket).exists()
        except (OSError, urllib.error.URLError):
            return False

    def is_alive(self) -> bool:
        """Whether the process that was started still runs."""
        if not self._process.is_running:
            return False
        try:
            self._process.check()
        except NodeFailedError:
            return False
        return True

    def end_of_log(self) -> str:
        """How the node ended, in its own words, and where when it crashed."""
        try:
            self._process.check()
        except NodeFailedError as error:
            return str(error)[-2000:] + self._crashed_in()
        return "it runs"

    def _crashed_in(self) -> str:
        if not self._crash_report.exists():
            return ""
        report = self._crash_report.read_text(encoding="utf-8", errors="replace")
        frames = report.partition("Java frames:")[2].splitlines()[:CRASH_FRAMES]
        return "\nin" + "\n".join(frames)

    def resident(self) -> Resident | None:
        """Its memory; None when it has ended."""
        try:
            return resident(self._pid)
        except (OSError, KeyError):
            return None

    def left_behind(self, good_clients: int) -> list[str]:
        """What the node has that is not the good clients'; each with its value."""
        values = self._metrics()
        if values is None:
            return ["the node does not tell its metrics"]
        expected = dict.fromkeys(HOSTILE_ONLY, 0.0)
        expected["kvasir_node_connections"] = float(good_clients)
        expected["kvasir_node_sessions"] = float(good_clients)
        found = {name: values.get(name, 0.0) for name in expected}
        left = [f"{name} {value:g}" for name, value in found.items() if value > expected[name]]
        # A good client has one lease, while it loads.
        if values.get("kvasir_storage_leases", 0.0) > good_clients:
            left.append(f"kvasir_storage_leases {values['kvasir_storage_leases']:g}")
        return left + [f"{name}}} {value:g}" for name, value in values.items() if name.startswith(NEVER) and value > 0]

    def _metrics(self) -> dict[str, float] | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=HTTP_S) as answer:
                lines = answer.read().decode().splitlines()
        except (OSError, urllib.error.URLError):
            return None
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def stop(self) -> list[str]:
        """SIGTERM; what was wrong with its end."""
        if not self.is_alive():
            return []
        status = self._process.stop()
        return [] if status in (0, 143) else [f"the node ended with status {status} after SIGTERM"]

    def close(self) -> None:
        """Ends it, whatever it does. Idempotent."""
        self._process.stop()
