"""What lookup, load and store answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Final

import numpy as np
import numpy.typing as npt

from kvasir import _engine_pb2 as pb
from kvasir._attachment import Attachment
from kvasir.errors import KvasirError
from kvasir.identity import Shard
from kvasir.records import BoolArray, SlotArray, SlotStatus, Tier

_PRESENT: Final = (SlotStatus.COMMITTED, SlotStatus.EXISTS, SlotStatus.IN_FLIGHT)


@dataclass(frozen=True)
class PlanRange:
    """Where consecutive chunks come from. ``expected_ms`` is meaningful while pending."""

    first_chunk: int
    chunks: int
    status: str
    tier: Tier
    exact: bool
    expected_ms: int


@dataclass
class Lease:
    """What may be loaded until ``expires_at``; a context manager that releases at its end.

    Attributes:
        id: the lease's number; 0 when nothing is leased.
        hit_chunks: leading chunks that are hits (of a sparse lookup: the number of hits).
        pending_chunks: chunks after them whose bytes are on their way.
        slots: records, chunk-major, shape (chunks, shards asked for); dtype ``kvasir.records.SLOT_DTYPE``.
        seconds: its length as the node gave it.
        expires_at: ``time.monotonic()`` seconds; afterwards loads are misses.
    """

    id: int
    hit_chunks: int
    pending_chunks: int
    slots: SlotArray
    _planned: Sequence[pb.PlanRange] = field(repr=False)
    expires_at: float
    _attachment: Attachment = field(repr=False)
    _shards: tuple[int, ...] = ()
    seconds: float = 0.0
    _released: bool = False

    @property
    def plan(self) -> tuple[PlanRange, ...]:
        """Where the chunks come from, in order; made when it is asked for, since a load does not need it."""
        return tuple(
            PlanRange(r.first_chunk, r.chunks, pb.PlanRange.Status.Name(r.status), Tier(r.tier), r.exact, r.expected_ms)
            for r in self._planned
        )

    @property
    def alive(self) -> bool:
        """True while loads may use it: not released, not expired, and given by the node that runs now."""
        return (
            self.id != 0
            and not self._released
            and not self._attachment.is_void()
            and time.monotonic() < self.expires_at
        )

    def part(self, first: int, count: int) -> Lease:
        """The same lease, of ``count`` chunks from ``first`` on alone: for a load of these, and not to be released."""
        return replace(self, slots=self.slots[first : first + count])

    def release(self) -> None:
        """Gives the slots back; sends and does not wait. Never raises; a second call does nothing."""
        if self.id and not self._released:
            self._released = True
            request = pb.Request()
            request.release.leases.append(self.id)
            if self._shards:
                request.release.shards.extend(self._shards)
            self._attachment.quietly(request)

    def hand_over(self) -> int:
        """The id for other processes of the session, who then release it shard by shard; this object no longer does."""
        self._released = True
        return self.id

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


@dataclass(frozen=True)
class LoadResult:
    """What arrived.

    Attributes:
        loaded: shape (chunks, shards): whole, and of the version that was looked up. Memory of an object that is not
            may have been written in part.
        bytes: copied for the objects that arrived.
        error: why there is nothing, when a convenience turned an error into misses.
    """

    loaded: BoolArray
    bytes: int
    error: KvasirError | None = None

    @property
    def leading_chunks(self) -> int:
        """Leading chunks of which every object arrived."""
        whole = self.loaded.all(axis=1)
        return len(self.loaded) if whole.all() else int(np.argmin(whole))

    @staticmethod
    def nothing(error: KvasirError) -> LoadResult:
        """Misses, because of ``error``."""
        return LoadResult(np.zeros((0, 1), dtype=bool), 0, error)


@dataclass(frozen=True)
class StoreResult:
    """One :class:`SlotStatus` for each object: COMMITTED, or why it was not stored (EXISTS, IN_FLIGHT, NO_ROOM, QUOTA,
    ABORTED when its copy did not end in time, NOT_RESERVED when the node had taken the slot back)."""

    statuses: npt.NDArray[np.uint8]

    @property
    def committed(self) -> int:
        """Objects that this call stored."""
        return int((self.statuses == SlotStatus.COMMITTED).sum())

    @property
    def present(self) -> BoolArray:
        """Which objects need no further store: this call stored them, they were there, or another one stores them."""
        return np.isin(self.statuses, _PRESENT)


@dataclass(frozen=True)
class Event:
    """Something that happened to an object of this tenant: STORED in or REMOVED from ``tier``.

    Or, with empty ``namespace`` and ``key``, CLEARED: the tier began empty or cannot be used, so nothing that an
    earlier start of the node had there is left.
    """

    sequence: int
    kind: str
    tier: Tier
    namespace: bytes
    key: bytes
    shard: Shard
    unix_ms: int


@dataclass(frozen=True)
class EventBatch:
    """Events of one node in order, and how many before them it no longer has.

    ``node`` is the node's name; numbers start anew with another ``incarnation`` (16 bytes).
    """

    events: tuple[Event, ...]
    lost: int
    node: str
    incarnation: bytes
