from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from kvasir import Lease, Namespace
from kvasir.engine.leases import MOST_KEPT, LeaseKeeper
from kvasir.records import SLOT_DTYPE

NAMESPACE = Namespace("leases-test", 64)


class Node:
    """Stands for the attachment that a lease is released through."""

    def __init__(self) -> None:
        self.released: list[int] = []

    def is_void(self) -> bool:
        return False

    def quietly(self, request: Any) -> None:
        self.released += request.release.leases

    def lease(self, number: int, chunks: int, seconds: float = 60.0) -> Lease:
        slots = np.zeros((chunks, 1), SLOT_DTYPE)
        slots["slot"] = np.arange(chunks)[:, None]
        return Lease(number, chunks, 0, slots, (), time.monotonic() + seconds, self)  # type: ignore[arg-type]

    def wait_for(self, released: list[int]) -> None:
        end = time.monotonic() + 10
        while sorted(self.released) != released:
            assert time.monotonic() < end, f"released: {self.released}"
            time.sleep(0.001)


@pytest.fixture
def node() -> Node:
    return Node()


def keys(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(32, "big") for number in numbers)


def test_part_of_a_lease_covers_the_chunks_asked_for_as_far_as_it_reaches(node: Node) -> None:
    keeper = LeaseKeeper()
    keeper.keep(NAMESPACE, keys(1, 2, 3, 4), node.lease(7, 4))
    part = keeper.part(NAMESPACE, keys(2, 3))
    assert part is not None
    assert part.slots["slot"].reshape(-1).tolist() == [1, 2]
    longer = keeper.part(NAMESPACE, keys(3, 4, 5))
    assert longer is not None
    assert longer.slots["slot"].reshape(-1).tolist() == [2, 3]
    assert keeper.part(NAMESPACE, keys(5)) is None
    assert keeper.part(NAMESPACE, keys(2, 4)) is None
    assert keeper.part(Namespace("another", 64), keys(2)) is None
    keeper.close()


def test_keys_are_found_at_their_boundaries_alone(node: Node) -> None:
    keeper = LeaseKeeper()
    kept = keys(1, 2, 3)
    keeper.keep(NAMESPACE, kept, node.lease(7, 3))
    assert keeper.part(NAMESPACE, kept[16:48]) is None
    keeper.close()


def test_one_more_than_are_kept_lets_the_oldest_go(node: Node) -> None:
    keeper = LeaseKeeper()
    for number in range(1, MOST_KEPT + 3):
        keeper.keep(NAMESPACE, keys(number), node.lease(number, 1))
    node.wait_for([1, 2])
    assert keeper.part(NAMESPACE, keys(2)) is None
    assert keeper.part(NAMESPACE, keys(3)) is not None
    keeper.close()


def test_lease_that_no_load_came_for_is_released_when_its_time_is_over(node: Node) -> None:
    keeper = LeaseKeeper()
    keeper.keep(NAMESPACE, keys(1), node.lease(7, 1, seconds=0.05))
    node.wait_for([7])
    keeper.close()


def test_lease_ends_with_its_last_chunk_and_is_the_callers_to_release(node: Node) -> None:
    keeper = LeaseKeeper()
    keeper.keep(NAMESPACE, keys(1, 2, 3), node.lease(7, 3))
    assert keeper.ending_in(NAMESPACE, keys(1, 2)) == []
    assert [lease.id for lease in keeper.ending_in(NAMESPACE, keys(3, 4))] == [7]
    assert keeper.part(NAMESPACE, keys(1)) is None
    assert node.released == []
    keeper.close()
