"""The lock that the launcher takes while it builds: one Maven at a time in a checkout."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def build_lock(home: Path) -> Iterator[None]:
    """Holds the lock of this checkout; waits for another call that has it."""
    lock = home / ".kvasir" / "lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
