"""The processes of the campaign: hostile engines, good clients, and what burns as much processor time without a node.

All are the Java classes of the node's own fuzz test, compiled anew, so that there is one corpus.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from kvasir_bench.node import NodeError

SOURCES = Path("node/src/test/java/io/kvasir/node/hostile")
PACKAGE = "io.kvasir.node.hostile"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
END_S = 5.0
HEAP = "384m"
"""Of a hostile process, and of the one that stands for it in the control."""


class Programs:
    """The compiled classes, and the command of each program in them."""

    def __init__(self, home: Path, directory: Path) -> None:
        build, jdk = os.environ.get("KVASIR_BUILD"), os.environ.get("JAVA_HOME")
        if not build or not jdk:
            raise NodeError("KVASIR_BUILD and JAVA_HOME are not set: run the benchmarks with ./kvasir bench")
        libraries = shlex.split(Path(build, "classpath.args").read_text(encoding="utf-8"))[1]
        classes = directory / "classes"
        sources = sorted(str(path) for path in (home / SOURCES).glob("*.java"))
        done = subprocess.run(
            [f"{jdk}/bin/javac", "-nowarn", "-d", str(classes), "-cp", libraries, *sources],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise NodeError(f"the hostile engines cannot be compiled:\n{done.stderr}")
        flags = ["--enable-native-access=ALL-UNNAMED", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        self._java = [f"{jdk}/bin/java", *flags]
        self._classes = f"{classes}{os.pathsep}{libraries}"

    def command(self, program: str, heap: str, *arguments: str) -> list[str]:
        """The command line of a class with a main method."""
        return [*self._java, f"-Xmx{heap}", "-cp", self._classes, f"{PACKAGE}.{program}", *arguments]


@dataclass(frozen=True)
class Line:
    """What a good client did in half a second; times are those of ``time.monotonic``."""

    begin: float
    end: float
    incarnation: str
    micros: dict[str, list[int]]
    counts: dict[str, int]
    violations: list[str]

    @staticmethod
    def parse(text: str) -> Line:
        """Reads what ``GoodMain`` writes."""
        data: dict[str, Any] = json.loads(text)
        return Line(**data)


class GoodClient:
    """A good client of one tenant. Its lines are put into ``lines`` by a thread."""

    def __init__(self, name: str, command: Sequence[str], lines: SimpleQueue[tuple[str, Line]]) -> None:
        self.name = name
        self._lines = lines
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            self._lines.put((self.name, Line.parse(text)))

    def is_alive(self) -> bool:
        """False when it has ended by itself, which it never does."""
        return self._process.poll() is None

    def close(self) -> None:
        """Ends it."""
        _end(self._process)


class HostileProcess:
    """Hostile engines, several threads of them, and how much processor time they use."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )

    def cpu_s(self) -> float:
        """Processor seconds since its start."""
        return _cpu_s(self._process.pid)

    def failure(self) -> str:
        """Why it has ended by itself; empty while it runs."""
        if self._process.poll() is None:
            return ""
        return f"hostile engines ended by themselves: {' / '.join(self.last_lines(6))}"

    def last_lines(self, count: int) -> list[str]:
        """The tries that began last."""
        return self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]

    def kill(self) -> None:
        """``kill -9``: its connections and locks end with it, in the middle of everything."""
        _kill(self._process)


class Burner:
    """Uses as much processor time, at the same times, as a hostile process did; it knows no node."""

    def __init__(self, programs: Programs, threads: int, cpu_s: Sequence[float], interval_s: float) -> None:
        """``cpu_s``: processor seconds of the hostile process, from its start to the end of each interval."""
        used_ms = [round(1000 * used) for used in cpu_s]
        arguments = map(str, (threads, round(1000 * interval_s), *used_ms))
        self._process = subprocess.Popen(
            programs.command("BurnMain", HEAP, *arguments), stdin=subprocess.PIPE, start_new_session=True
        )

    def cpu_s(self) -> float:
        """Processor seconds since its start; 0 when it has ended."""
        return _cpu_s(self._process.pid)

    def kill(self) -> None:
        """``kill -9``, as its hostile process ended."""
        _kill(self._process)


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdin is not None
    process.stdin.close()


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
