"""What a node may have resident, apart from the shared memory of its DRAM tier: the sum of its parts' limits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
UNITS = {"k": 1 << 10, "m": MIB, "g": 1 << 30}

THREADS = 64
"""Of the node with an SSD and no cluster, compilers and collector included; about 40 are seen."""

FIXED_MIB = {
    "direct buffers and buffers of the SSD": 64,
    "RocksDB": 64,
    "the JVM's own: collector, compiler arenas, symbols, malloc": 96,
    "mapped files: the JVM, the class archive, jars, the catalog": 160,
}
"""What no flag of the JVM bounds: as large as the code that uses it makes it, with half as much again."""


@dataclass(frozen=True)
class Budget:
    """MiB by part."""

    parts: dict[str, float]

    @property
    def mib(self) -> float:
        """The sum."""
        return sum(self.parts.values())

    def __str__(self) -> str:
        return f"{self.mib:g} MiB = " + " + ".join(f"{name} {value:g}" for name, value in self.parts.items())


@dataclass(frozen=True)
class Resident:
    """Bytes that are this process's own: no shared memory."""

    anonymous: int
    file: int

    @property
    def mib(self) -> float:
        """Both, in MiB."""
        return (self.anonymous + self.file) / MIB


def budget(home: Path) -> Budget:
    """From the flags with which the launcher starts a node."""
    flags = (home / "ops" / "node.jvm.args").read_text(encoding="utf-8")
    return Budget(
        {
            "heap": _mib(flags, "-Xmx"),
            "metaspace": _mib(flags, "-XX:MaxMetaspaceSize="),
            "code": _mib(flags, "-XX:ReservedCodeCacheSize="),
            f"{THREADS} stacks": THREADS * _mib(flags, "-Xss"),
        }
        | FIXED_MIB
    )


def resident(pid: int) -> Resident:
    """Of a process that lives.

    Raises:
        OSError: there is no such process.
    """
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines())
    return Resident(*(int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "RssFile")))


def _mib(flags: str, flag: str) -> float:
    match = re.search(rf"^{re.escape(flag)}(\d+)([kmg])$", flags, re.MULTILINE)
    if match is None:
        raise ValueError(f"ops/node.jvm.args has no {flag}: the node's memory has no limit")
    return int(match[1]) * UNITS[match[2]] / MIB
