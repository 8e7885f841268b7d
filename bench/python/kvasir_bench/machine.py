"""Describes the machine that a benchmark ran on, and how busy it was; the figures mean nothing without it."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Any


def describe(data_directory: Path) -> dict[str, Any]:
    """Processor, memory, kernel, file systems and load, as they stand in the JSON and in docs/benchmarks.md."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(_memory_bytes() / 2**30, 1),
        "kernel": platform.release(),
        "system": _system(),
        "python": platform.python_version(),
        "virtual": _virtual(),
        "data_file_system": _file_system(data_directory),
        "shm_free_gib": round(shutil.disk_usage("/dev/shm").free / 2**30, 1),
        "load_average_1m": round(os.getloadavg()[0], 2),
    }


class BusyMeter:
    """How many cores were busy on the whole machine since it was made: tells a quiet run from a disturbed one."""

    def __init__(self) -> None:
        self._busy, self._total = _cpu_ticks()

    def cores(self) -> float:
        """Mean number of busy cores since the meter was made."""
        busy, total = _cpu_ticks()
        passed = total - self._total
        return (busy - self._busy) / passed * (os.cpu_count() or 1) if passed else 0.0


def _cpu_ticks() -> tuple[int, int]:
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _virtual() -> bool:
    flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")
    return "hypervisor" in flags.split()


def _file_system(directory: Path) -> str:
    place = directory.resolve()
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        if place.is_relative_to(mount) and len(mount) >= len(best[0]):
            best = (mount, kind)
    return best[1]
