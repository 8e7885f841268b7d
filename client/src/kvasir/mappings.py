"""Tells those who have registered the node's memory with a device when it is about to be unmapped."""

from __future__ import annotations

from collections.abc import Callable

_watchers: list[Callable[[int, int], None]] = []


def watch_unmapping(watcher: Callable[[int, int], None]) -> Callable[[], None]:
    """Calls ``watcher(address, length)`` before memory of a region is unmapped; returns what ends that.

    Nothing copies to or from that memory any more. The watcher must not raise.
    """
    _watchers.append(watcher)

    def stop() -> None:
        if watcher in _watchers:
            _watchers.remove(watcher)

    return stop


def unmapping(address: int, length: int) -> None:
    """Called by the mapping itself."""
    for watcher in list(_watchers):
        watcher(address, length)
