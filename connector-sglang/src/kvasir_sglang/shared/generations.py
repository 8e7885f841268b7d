"""Generations of a namespace that no engine has had: what "forget" moves to."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from kvasir_sglang.shared.identity import Ranks

_BITS: Final = 63
#: All ranks are told to forget within some milliseconds; those that fall into two of these find nothing of each other.
_WINDOW_SECONDS: Final = 60


class Generations:
    """Draws them for one rank. A counter would not do: it would come to the numbers of the run before.

    Random, except where ranks hold the same pages, one of them stores and all load: those have to come to the same
    number without a word between them. They make it of what they share and others do not: the process that started
    them, the engine's addresses, how often they were told, and the time.

    Args:
        ranks: where this rank stands.
        server_args: SGLang's, or None where there are none.
        clock: seconds.
    """

    def __init__(self, ranks: Ranks, server_args: Any, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._count = 0
        self._engine = ""
        if ranks.replicated and ranks.tp_size * ranks.pp_size * ranks.cp_size > 1:
            names = ("dist_init_addr", "host", "port", "nccl_port", "random_seed", "nnodes")
            shared = [f"{name}={getattr(server_args, name, None)}" for name in names]
            if (getattr(server_args, "nnodes", 1) or 1) == 1:
                shared.append(_launcher())
            self._engine = " ".join(shared)

    def draw(self) -> int:
        """Another one, of 63 bits."""
        if not self._engine:
            return secrets.randbits(_BITS)
        self._count += 1
        text = f"kvasir forgets {self._engine} {self._count} {int(self._clock()) // _WINDOW_SECONDS}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") & (1 << _BITS) - 1


def _launcher() -> str:
    """The process that started this one, as no other process is called until the machine starts again."""
    parent = os.getppid()
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # The 22nd field is the start time; the name before it may hold spaces and brackets.
        started = (
            Path(f"/proc/{parent}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
        )
    except (OSError, IndexError):
        return f"launcher={parent}"
    return f"launcher={parent} {started} {boot}"
