"""What counts as evicted, by the node's events."""

from __future__ import annotations

import pytest
from kvasir import Event, Shard, Tier

from kvasir_ops.replay.evictions import TierMap

KEY = bytes(range(32))


def event(kind: str, tier: Tier) -> Event:
    return Event(sequence=1, kind=kind, tier=tier, namespace=bytes(32), key=KEY, shard=Shard(), unix_ms=0)


@pytest.mark.parametrize(
    ("events", "evicted"),
    [
        ([], False),
        ([("STORED", Tier.DRAM)], False),
        ([("STORED", Tier.DRAM), ("REMOVED", Tier.DRAM)], True),
        ([("STORED", Tier.DRAM), ("STORED", Tier.SSD), ("REMOVED", Tier.DRAM)], False),
        ([("STORED", Tier.DRAM), ("STORED", Tier.SSD), ("REMOVED", Tier.DRAM), ("REMOVED", Tier.SSD)], True),
        ([("STORED", Tier.DRAM), ("REMOVED", Tier.DRAM), ("STORED", Tier.DRAM)], False),
    ],
)
def test_evicted_is_gone_from_its_last_tier(events: list[tuple[str, Tier]], evicted: bool) -> None:
    tiers = TierMap()
    for kind, tier in events:
        tiers.apply(event(kind, tier))
    assert tiers.is_evicted(KEY) == evicted
