"""How large the demo is on this machine, chosen so that all tiers are used and the run stays under a minute."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from kvasir_ops.replay.trace import TraceRequest

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

_OBJECT_CHOICES = (64 * KIB, 32 * KIB)
# The DRAM of all nodes holds about this share of what the trace stores: less than all, so that the SSD tiers have work.
_DRAM_SHARE = 0.2
_DRAM_MINIMUM = 64 * MIB
_DRAM_MAXIMUM = 512 * MIB
# One SSD tier has room for its part, for what it copies from others, and for that of a node that is away.
_SSD_SHARE = 0.6
_SSD_MINIMUM = 256 * MIB
_SPARED_DISK = 1 * GIB


class TooSmallError(Exception):
    """The machine has no room for the demo; the message has the numbers."""


@dataclass(frozen=True)
class Sizes:
    """All sizes in bytes; DRAM and SSD of each node."""

    object_bytes: int
    dram_bytes: int
    ssd_bytes: int


def choose_sizes(requests: list[TraceRequest], nodes: int, shared_memory: Path, state: Path) -> Sizes:
    """Sizes for this machine, from the free bytes of both file systems and of memory."""
    return fit(
        unique_chunks=len({chunk for request in requests for chunk in request.chunk_ids}),
        nodes=nodes,
        free_memory=min(shutil.disk_usage(shared_memory).free, _available_memory()),
        free_disk=shutil.disk_usage(state).free,
    )


def fit(unique_chunks: int, nodes: int, free_memory: int, free_disk: int) -> Sizes:
    """The largest objects whose sum fits the disk, and DRAM for a part of them.

    Raises:
        TooSmallError: not even the smallest fit.
    """
    least = 2 * nodes * _DRAM_MINIMUM
    if free_memory < least:
        raise TooSmallError(
            f"the demo needs {least // MIB} MiB of free shared memory; {free_memory // MIB} MiB are free"
        )
    needed = 0
    for object_bytes in _OBJECT_CHOICES:
        stored = unique_chunks * object_bytes
        ssd = max(_SSD_MINIMUM, _round_up(int(stored * _SSD_SHARE), 128 * MIB))
        needed = nodes * ssd + _SPARED_DISK
        if needed <= free_disk:
            dram = min(_DRAM_MAXIMUM, free_memory // (4 * nodes), int(stored * _DRAM_SHARE) // nodes)
            return Sizes(object_bytes, max(_DRAM_MINIMUM, _round_down(dram, 64 * MIB)), ssd)
    raise TooSmallError(
        f"the demo needs {needed // MIB} MiB of free disk; {free_disk // MIB} MiB are free "
        "(--state-dir names another place, --requests makes it shorter)"
    )


def _available_memory() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def _round_down(value: int, step: int) -> int:
    return value // step * step
