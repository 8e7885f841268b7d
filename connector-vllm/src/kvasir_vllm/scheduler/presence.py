"""In which tiers of the node each chunk is, from the node's events: it is published as removed once it is in none."""

from __future__ import annotations

from kvasir import Event, Shard, Tier

MOST = 1 << 20
"""Objects that are followed; of more nothing is said."""


class TierPresence:
    """Owned by one thread. A chunk is gone when some shard of it is in no tier of the node any more."""

    def __init__(self) -> None:
        self._tiers: dict[tuple[bytes, Shard], set[Tier]] = {}

    def gone(self, event: Event) -> bytes | None:
        """Takes an event; the key of the chunk that went with it."""
        place = (event.key, event.shard)
        if event.kind == "STORED":
            if place in self._tiers or len(self._tiers) < MOST:
                self._tiers.setdefault(place, set()).add(event.tier)
            return None
        if event.kind != "REMOVED" or place not in self._tiers:
            return None
        self._tiers[place].discard(event.tier)
        if self._tiers[place]:
            return None
        del self._tiers[place]
        return event.key

    def forget(self) -> None:
        """The stream is another one, or has a gap."""
        self._tiers.clear()
