"""Builds requests, reads answers, and copies: the parts that the calls in ``_core`` are made of."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from kvasir import _copy
from kvasir import _engine_pb2 as pb
from kvasir._attachment import Attachment
from kvasir._checksum import payload_crc32c
from kvasir._steps import Work
from kvasir.deadline import Deadline
from kvasir.errors import InvalidArgumentError, ProtocolViolationError, UnknownNamespaceError
from kvasir.identity import KEY_BYTES, Keys, Namespace, Shard, pack_keys
from kvasir.lease import Event, EventBatch, Lease, LoadResult, StoreResult
from kvasir.pieces import Pieces, Places, pieces_of
from kvasir.records import U64, SlotArray, SlotStatus, Tier, slot_array
from kvasir.scores import NodeScore, Scores

_GRANTED: Final = int(SlotStatus.GRANTED)


@dataclass
class LookupOptions:
    """Arguments of a lookup that have a usual value; see :meth:`kvasir.Client.lookup`."""

    wait: float = 0.0
    lease_seconds: float = 0.0
    peek: bool = False
    sparse: bool = False
    shards: Sequence[int] = ()
    computed_tokens: int = 0
    recompute_tokens_per_s: float = 0.0
    priority: int = 0


def millis(seconds: float) -> int:
    """Whole milliseconds, rounded up."""
    return max(0, -int(-seconds * 1000 // 1))


def wait_millis(wait: float, deadline: Deadline) -> int:
    """How long the node may hold an answer so that it still arrives before the deadline."""
    return millis(min(wait, max(deadline.remaining() * 0.9, 0)))


def handle_of(attachment: Attachment, namespace: Namespace | None) -> int | None:
    """The session's handle; None when the namespace has to be opened first."""
    if namespace is not None:
        return attachment.handles.get(namespace)
    if attachment.handles:
        return next(iter(attachment.handles.values()))
    if attachment.first_handle is not None:
        return attachment.first_handle
    raise UnknownNamespaceError("no namespace was given, and this session has none open")


def lookup_request(handle: int, packed: bytes, options: LookupOptions, deadline: Deadline) -> pb.Request:
    """A lookup. Only fields that say something are set, one by one: that takes a third of the time."""
    request = pb.Request()
    lookup = request.lookup
    lookup.namespace = handle
    lookup.keys = packed
    if options.computed_tokens:
        lookup.computed_tokens = options.computed_tokens
    if options.wait:
        lookup.wait_ms = wait_millis(options.wait, deadline)
    if options.lease_seconds:
        lookup.lease_ms = millis(options.lease_seconds)
    if options.peek:
        lookup.peek = True
    if options.sparse:
        lookup.sparse = True
    if options.shards:
        lookup.shards.extend(options.shards)
    if options.recompute_tokens_per_s:
        lookup.recompute_tokens_per_s = options.recompute_tokens_per_s
    if options.priority:
        lookup.priority = options.priority
    return request


def resolve_request(lease: int, shards: Sequence[int]) -> pb.Request:
    """Asks for the slots of a lease that another process was given."""
    return pb.Request(resolve=pb.Resolve(lease=lease, shards=shards))


def pin_request(handle: int, keys: Keys, ttl: float, priority: int) -> pb.Request:
    """Keeps objects from being evicted."""
    return pb.Request(pin=pb.Pin(namespace=handle, keys=pack_keys(keys), ttl_ms=millis(ttl), priority=priority))


def unpin_request(handle: int, keys: Keys) -> pb.Request:
    """Ends a pin."""
    return pb.Request(unpin=pb.Unpin(namespace=handle, keys=pack_keys(keys)))


def events_request(after: int, limit: int, wait: float, deadline: Deadline) -> pb.Request:
    """Asks what happened after a sequence number."""
    return pb.Request(events=pb.Events(after=after, limit=limit, wait_ms=wait_millis(wait, deadline) if wait else 0))


def scores_request(handle: int, keys: Keys) -> pb.Request:
    """Asks how much each node holds."""
    return pb.Request(scores=pb.Scores(namespace=handle, keys=pack_keys(keys)))


def handoff_request(handle: int, keys: Keys, target: str, ttl: float) -> pb.Request:
    """Sends chunks to another node."""
    return pb.Request(
        handoff=pb.Handoff(namespace=handle, keys=pack_keys(keys), target=target, ttl_ms=round(ttl * 1000))
    )


def ping_request(payload: bytes) -> pb.Request:
    """A round trip."""
    request = pb.Request()
    request.ping.payload = payload
    return request


def lookup_lease(
    attachment: Attachment, answer: pb.LookupResult, keys: int, options: LookupOptions, sent: float
) -> Lease:
    """The lease of an answer whose regions are mapped already."""
    if answer.hit_chunks > keys:
        raise ProtocolViolationError(f"{answer.hit_chunks} chunks are hits of {keys} keys")
    shards = len(options.shards) or len(attachment.shards)
    chunks = keys if options.sparse else answer.hit_chunks
    slots = slot_array(answer.slots, chunks * shards).reshape(chunks, shards)
    expires = sent + answer.lease_ms / 1000
    return Lease(
        answer.lease,
        answer.hit_chunks,
        answer.pending_chunks,
        slots,
        answer.plan,
        expires,
        attachment,
        seconds=answer.lease_ms / 1000,
    )


def resolve_lease(
    attachment: Attachment, lease: int, answer: pb.ResolveResult, shards: Sequence[int], sent: float
) -> Lease:
    """A lease that another process of the session was given."""
    columns = len(shards) or len(attachment.shards)
    flat = slot_array(answer.slots)
    if len(flat) % columns:
        raise ProtocolViolationError(f"a lease has {len(flat)} records for {columns} shards")
    slots = flat.reshape(-1, columns)
    hits = int((slots["status"] == SlotStatus.HIT).any(axis=1).sum())
    seconds = answer.lease_ms / 1000
    return Lease(lease, hits, 0, slots, (), sent + seconds, attachment, tuple(shards), seconds)


def renew_request(leases: Sequence[Lease], lease_seconds: float) -> pb.Request:
    """Prolongs leases."""
    return pb.Request(renew=pb.Renew(leases=[lease.id for lease in leases], lease_ms=millis(lease_seconds)))


def renewed(leases: Sequence[Lease], answer: pb.RenewResult, lease_seconds: float, sent: float) -> list[bool]:
    """Takes the answer over into the leases."""
    if len(answer.renewed) != len(leases):
        raise ProtocolViolationError(f"{len(answer.renewed)} answers for {len(leases)} leases to renew")
    for lease, done in zip(leases, answer.renewed, strict=True):
        if done:
            # Without a length of its own a lease is prolonged by the node's default, which is what it had at first.
            lease.expires_at = sent + (lease_seconds or lease.seconds)
    return list(answer.renewed)


class LoadCall(Work):
    """The copy of one load."""

    def __init__(
        self, lease: Lease, destinations: Places, verify: bool, deadline: Deadline, *, trim: bool = False
    ) -> None:
        self._lease = lease
        self._deadline = deadline
        self._slots: SlotArray = lease.slots.reshape(-1)
        pieces = pieces_of(destinations, write=True)
        self._pieces = pieces.first(len(self._slots)) if trim else pieces
        self._crc32c = payload_crc32c() if verify else None

    def run(self, copier: _copy.Copies) -> LoadResult:
        """Copies; returns once nothing copies any more."""
        lease, slots, pieces = self._lease, self._slots, self._pieces
        attachment = lease._attachment
        loaded = np.zeros(len(slots), dtype=bool)
        # In a forked child the marks are not there: it must not come to them.
        if lease.alive:
            copy = attachment.copies.begin()
            try:
                # Once more behind the mark: the node ends a lease that is over then and has no mark before.
                if lease.alive:
                    loaded = _copy.load(
                        attachment.mapped, slots, pieces, self._deadline, copier,
                        lambda: self.stop or attachment.is_void(), self._crc32c,
                    )  # fmt: skip
            finally:
                attachment.copies.end(copy)
        arrived = pieces.length if loaded.all() else pieces.length[loaded[pieces.object]]
        return LoadResult(loaded.reshape(lease.slots.shape), int(arrived.sum()))


class StoreCall(Work):
    """One store: its requests (reserve, abort, commit), and the copy between them."""

    def __init__(
        self,
        keys: Keys,
        sources: Places,
        deadline: Deadline,
        *,
        shard: int,
        parents: Keys | None,
        chunk_index: int | None,
        crc32c: bool | npt.NDArray[np.uint32],
        block_hashes: Keys | None,
        priority: int,
        ttl: float,
        wait: float,
    ) -> None:
        self.keys = pack_keys(keys)
        self.count = len(self.keys) // KEY_BYTES
        self.pieces: Pieces = pieces_of(sources, write=False)
        self.lengths: U64 = self.pieces.whole_objects(self.count)
        self.parents = pack_keys(parents) if parents is not None else b""
        self.block_hashes = pack_keys(block_hashes) if block_hashes is not None else b""
        if self.parents and len(self.parents) != len(self.keys):
            raise InvalidArgumentError(f"{len(self.parents) // KEY_BYTES} parents for {self.count} keys")
        blocks, rest = divmod(len(self.block_hashes) // KEY_BYTES, max(self.count, 1))
        if rest:
            raise InvalidArgumentError(f"block_hashes are no multiple of the {self.count} keys")
        if not isinstance(crc32c, bool) and len(crc32c) != self.count:
            raise InvalidArgumentError(f"{len(crc32c)} checksums for {self.count} keys")
        self.shard, self.blocks, self.crc32c = shard, blocks, crc32c
        self.chunk_index, self.priority, self.ttl, self.wait = chunk_index, priority, ttl, wait
        self._sum = payload_crc32c() if crc32c is True else None
        self._sums = np.zeros(self.count, dtype="<u4")
        if not isinstance(crc32c, bool):
            self._sums[:] = crc32c
        self._deadline = deadline
        self._attachment: Attachment | None = None
        self._slots: SlotArray = slot_array(b"")
        self.statuses: npt.NDArray[np.uint8] = np.zeros(0, dtype=np.uint8)

    def reserve_request(self, handle: int) -> pb.Request:
        """Asks for slots."""
        lengths = self.lengths
        request = pb.Request()
        reserve = request.reserve
        reserve.namespace = handle
        reserve.shard = self.shard
        reserve.keys = self.keys
        if self.count and (lengths == lengths[0]).all():
            reserve.lengths.append(int(lengths[0]))
        else:
            reserve.lengths.extend(lengths.tolist())
        if self.wait:
            reserve.wait_ms = wait_millis(self.wait, self._deadline)
        return request

    def take(self, attachment: Attachment, answer: pb.ReserveResult) -> None:
        """The answer to :meth:`reserve_request`."""
        self._attachment = attachment
        self._slots = slot_array(answer.slots, self.count)
        self.statuses = self._slots["status"].copy()

    def has_slots(self) -> bool:
        """True when there is something to copy."""
        granted = self.statuses == _GRANTED
        if (granted & (self._slots["length"] != self.lengths)).any():
            raise ProtocolViolationError("a reserved slot is of another length than was asked for")
        return bool(granted.any())

    def run(self, copier: _copy.Copies) -> None:
        """Writes into the slots; what did not get there in full will be aborted."""
        attachment = self._attachment
        assert attachment is not None
        stored = _copy.store(
            attachment.mapped, self._slots, self.pieces, self._deadline, copier,
            lambda: self.stop or attachment.is_void(), self._sum, self._sums,
        )  # fmt: skip
        self.statuses[(self.statuses == _GRANTED) & ~stored] = SlotStatus.ABORTED

    def commit_request(self) -> pb.Request | None:
        """Makes readable what was copied; None when that is nothing."""
        rows = np.flatnonzero(self.statuses == _GRANTED)
        if not len(rows):
            return None
        whole = len(rows) == self.count
        index: list[int] = []
        if self.chunk_index is not None:
            index = [self.chunk_index] if whole else (rows + self.chunk_index).tolist()
        request = pb.Request()
        commit = request.commit
        commit.slots = (self._slots if whole else self._slots[rows]).tobytes()
        if self.parents:
            commit.parents = _rows(self.parents, KEY_BYTES, rows, whole)
        if self.crc32c is not False:
            commit.crc32c = self._sums[rows].tobytes()
        if self.blocks:
            commit.block_hashes = _rows(self.block_hashes, KEY_BYTES * self.blocks, rows, whole)
            commit.blocks = self.blocks
        if index:
            commit.chunk_index.extend(index)
        if self.priority:
            commit.priority = self.priority
        if self.ttl:
            commit.ttl_ms = millis(self.ttl)
        return request

    def committed(self, answer: pb.CommitResult) -> None:
        """Takes the answer."""
        rows = self.statuses == _GRANTED
        if len(answer.statuses) != int(rows.sum()):
            raise ProtocolViolationError(f"{len(answer.statuses)} statuses for {int(rows.sum())} committed slots")
        self.statuses[rows] = np.frombuffer(answer.statuses, dtype=np.uint8)

    def abort_request(self) -> pb.Request | None:
        """Gives back the slots whose copy did not end, once it has stopped; None when there are none."""
        rows = (self._slots["status"] == _GRANTED) & (self.statuses == SlotStatus.ABORTED)
        return pb.Request(abort=pb.Abort(slots=self._slots[rows].tobytes())) if rows.any() else None

    def result(self) -> StoreResult:
        """When all steps are done."""
        return StoreResult(self.statuses)


def _rows(packed: bytes, width: int, rows: npt.NDArray[np.intp], whole: bool) -> bytes:
    if whole or not packed:
        return packed
    return np.frombuffer(packed, dtype=np.uint8).reshape(-1, width)[rows].tobytes()


def events_of(answer: pb.Response) -> EventBatch:
    """The typed events of an answer."""
    return EventBatch(
        tuple(
            Event(
                e.sequence, pb.Event.Kind.Name(e.kind), Tier(e.tier), e.namespace, e.key, Shard.of(e.shard), e.unix_ms
            )
            for e in answer.events.events
        ),
        answer.events.lost,
        answer.events.node,
        answer.incarnation,
    )


def scores_of(answer: pb.ScoresResult) -> Scores:
    """The typed scores of an answer."""
    return Scores(
        tuple(
            NodeScore(n.node, n.incarnation, n.prefix_chunks, n.free_bytes, n.queued_bytes, n.leased_bytes)
            for n in answer.nodes
        ),
        answer.complete,
    )


def now() -> float:
    """``time.monotonic()``; taken before a request is sent, so that a lease is never thought to last longer."""
    return time.monotonic()
