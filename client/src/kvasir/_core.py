"""The client's calls, each written once, as generators that do no I/O of their own.

A call yields the steps that it needs done (:mod:`kvasir._steps`) and is sent their results. :meth:`kvasir.Client._run`
does them on the calling thread, :meth:`kvasir.aio.AsyncClient._run` on an event loop. An error, a deadline that passed
and a cancellation are thrown into the call where it waits, once nothing of its step goes on. So what a call gives back
then stands in its ``except`` clause, for both. It posts there and does not yield, so that it also runs when a call is
closed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kvasir import _calls
from kvasir import _engine_pb2 as pb
from kvasir._attachment import Attachment, open_request
from kvasir._calls import LoadCall, LookupOptions, StoreCall
from kvasir._grants import give_back
from kvasir._steps import Attach, Call, MapRegions
from kvasir.deadline import Deadline
from kvasir.errors import KvasirError
from kvasir.identity import KEY_BYTES, Keys, Namespace, pack_keys
from kvasir.lease import EventBatch, Lease, LoadResult, StoreResult
from kvasir.pieces import Places
from kvasir.scores import Scores


class Core:
    """The calls of one client; their arguments and documentation are those of the public methods.

    Args:
        deadline: seconds a call may take when it does not say.
        namespaces: those that every attachment opens; a call adds the one that it opened.
    """

    def __init__(self, deadline: float, namespaces: dict[Namespace, None]) -> None:
        self.deadline = deadline
        self._namespaces = namespaces

    def _until(self, deadline: Deadline | float | None) -> Deadline:
        return Deadline.of(deadline, self.deadline)

    def _begin(self, namespace: Namespace | None, deadline: Deadline) -> Call[tuple[Attachment, int]]:
        """The attachment, and the session's handle for the namespace, which is opened when it is new."""
        attachment: Attachment = yield Attach(deadline)
        handle = _calls.handle_of(attachment, namespace)
        if handle is None:
            assert namespace is not None
            answer: pb.Response = yield open_request(namespace)
            handle = attachment.handles[namespace] = answer.open_namespace.handle
            self._namespaces[namespace] = None
        return attachment, handle

    # ---- reading

    def lookup(
        self,
        keys: Keys,
        *,
        namespace: Namespace | None = None,
        wait: float = 0.0,
        lease_seconds: float = 0.0,
        peek: bool = False,
        sparse: bool = False,
        shards: Sequence[int] = (),
        computed_tokens: int = 0,
        recompute_tokens_per_s: float = 0.0,
        priority: int = 0,
        deadline: Deadline | float | None = None,
    ) -> Call[Lease]:
        """Which leading chunks can be loaded; leases them.

        Args:
            keys: n x 32 packed bytes (fast) or 32-byte hashes: the engine's hash of each chunk's last block, in order.
            namespace: default: the one given at connect.
            wait: seconds that the node may hold the answer while objects are on their way.
            lease_seconds: 0: the node's default.
            peek: only ask; nothing is leased or fetched.
            sparse: look at every key on its own instead of ending at the first that is no hit.
            shards: indices whose records the answer has; empty: all.
            computed_tokens: tokens of this prompt that the engine has already.
            recompute_tokens_per_s: the engine's prefill speed; a load predicted to be slower is not offered.
            priority: higher is fetched first.

        Raises:
            RegionError: the node named a region that cannot be mapped.
        """
        options = LookupOptions(
            wait, lease_seconds, peek, sparse, shards, computed_tokens, recompute_tokens_per_s, priority
        )
        return self._lookup(pack_keys(keys), namespace, options, self._until(deadline))

    def _lookup(
        self, packed: bytes, namespace: Namespace | None, options: LookupOptions, deadline: Deadline
    ) -> Call[Lease]:
        attachment, handle = yield from self._begin(namespace, deadline)
        sent = _calls.now()
        answer: pb.Response = yield _calls.lookup_request(handle, packed, options, deadline)
        found = answer.lookup
        try:
            if found.regions:
                yield MapRegions(attachment.mapped, found.regions)
            return _calls.lookup_lease(attachment, found, len(packed) // KEY_BYTES, options, sent)
        except BaseException:
            attachment.quietly(give_back(answer))
            raise

    def resolve(
        self, lease: int, shards: Sequence[int] = (), *, deadline: Deadline | float | None = None
    ) -> Call[Lease]:
        """The slots of a lease that another process of the session was given; releasing gives back these shards."""
        attachment: Attachment = yield Attach(self._until(deadline))
        sent = _calls.now()
        answer: pb.Response = yield _calls.resolve_request(lease, shards)
        if answer.resolve.regions:
            yield MapRegions(attachment.mapped, answer.resolve.regions)
        return _calls.resolve_lease(attachment, lease, answer.resolve, shards, sent)

    def load(
        self, lease: Lease, destinations: Places, *, verify: bool = False, deadline: Deadline | float | None = None
    ) -> Call[LoadResult]:
        """Copies leased objects into this process's memory, in the order of ``destinations``.

        An object that changed, whose lease is over, or whose copy would pass the deadline is not loaded; that is no
        error. When this returns nothing copies any more.

        Args:
            lease: from :meth:`lookup` or :meth:`resolve`.
            destinations: one place for each record of ``lease.slots``, chunk-major; see :data:`kvasir.pieces.Places`.
            verify: check CRC32C of whole objects before they count as loaded (needs google-crc32c).

        Raises:
            InvalidArgumentError: a place that is no writable memory, or asks for bytes outside its object.
        """
        result: LoadResult = yield LoadCall(lease, destinations, verify, self._until(deadline))
        return result

    def load_prefix(
        self,
        keys: Keys,
        destinations: Places,
        *,
        namespace: Namespace | None = None,
        wait: float = 0.0,
        shards: Sequence[int] = (),
        verify: bool = False,
        deadline: Deadline | float | None = None,
    ) -> Call[LoadResult]:
        """Lookup, load and release in one. Failures of the node are misses, said in ``LoadResult.error``.

        Args:
            keys: see :meth:`lookup`.
            destinations: places for all keys x shards, chunk-major; those of chunks that are no hits are left alone.
            namespace, wait, shards, verify: as in :meth:`lookup` and :meth:`load`.

        Raises:
            InvalidArgumentError: as :meth:`lookup` and :meth:`load`.
        """
        end = self._until(deadline)
        packed = pack_keys(keys)
        try:
            with (yield from self._lookup(packed, namespace, LookupOptions(wait=wait, shards=shards), end)) as lease:
                result: LoadResult = yield LoadCall(lease, destinations, verify, end, trim=True)
                return result
        except ValueError:
            raise
        except KvasirError as error:
            return LoadResult.nothing(error)

    def renew(
        self, leases: Sequence[Lease], lease_seconds: float = 0.0, *, deadline: Deadline | float | None = None
    ) -> Call[list[bool]]:
        """Prolongs leases; False for one that ended. ``lease_seconds`` 0: the node's default."""
        yield Attach(self._until(deadline))
        sent = _calls.now()
        answer: pb.Response = yield _calls.renew_request(leases, lease_seconds)
        return _calls.renewed(leases, answer.renew, lease_seconds, sent)

    # ---- writing

    def store(
        self,
        keys: Keys,
        sources: Places,
        *,
        shard: int = 0,
        namespace: Namespace | None = None,
        parents: Keys | None = None,
        chunk_index: int | None = None,
        crc32c: bool | npt.NDArray[np.uint32] = False,
        block_hashes: Keys | None = None,
        priority: int = 0,
        ttl: float = 0.0,
        wait: float = 0.0,
        deadline: Deadline | float | None = None,
    ) -> Call[StoreResult]:
        """Stores one shard of chunks: reserve, copy, commit.

        Args:
            keys: n keys, as in :meth:`lookup`.
            sources: one place for each key; see :data:`kvasir.pieces.Places`. Pieces must cover their object.
            shard: index into the session's shards.
            namespace: default: the one given at connect.
            parents: n keys of the chunks before; 32 zero bytes for the first of a chain.
            chunk_index: index of the first chunk in its chain.
            crc32c: True: sum the bytes here (needs google-crc32c); or n sums; otherwise the node sums them soon after.
            block_hashes: n x blocks x 32 bytes.
            priority: higher stays longer.
            ttl: seconds after which the objects are dropped; 0: no limit.
            wait: seconds that the node may hold the answer while space is freed.

        Raises:
            InvalidArgumentError: sources that are no memory, or leave gaps.
            KvasirError: the node failed between the steps; slots were given back once the copies had stopped.
        """
        end = self._until(deadline)
        copy = StoreCall(
            keys, sources, end, shard=shard, parents=parents, chunk_index=chunk_index, crc32c=crc32c,
            block_hashes=block_hashes, priority=priority, ttl=ttl, wait=wait,
        )  # fmt: skip
        attachment, handle = yield from self._begin(namespace, end)
        reserved: pb.Response = yield copy.reserve_request(handle)
        try:
            copy.take(attachment, reserved.reserve)
            if reserved.reserve.regions:
                yield MapRegions(attachment.mapped, reserved.reserve.regions)
            if copy.has_slots():
                yield copy
            attachment.quietly(copy.abort_request())
            commit = copy.commit_request()
            if commit is not None:
                answer: pb.Response = yield commit
                copy.committed(answer.commit)
        except BaseException:
            # Of a commit that went out the node has taken the slots over before it reads this.
            attachment.quietly(give_back(reserved))
            raise
        return copy.result()

    # ---- the rest

    def open_namespace(self, namespace: Namespace, *, deadline: Deadline | float | None = None) -> Call[None]:
        """Opens a namespace ahead of its first use; calls open theirs by themselves."""
        yield from self._begin(namespace, self._until(deadline))

    def pin(
        self,
        keys: Keys,
        ttl: float,
        *,
        namespace: Namespace | None = None,
        priority: int = 0,
        deadline: Deadline | float | None = None,
    ) -> Call[int]:
        """Keeps what is there of these keys from being evicted for ``ttl`` seconds; returns how many keys that was."""
        _, handle = yield from self._begin(namespace, self._until(deadline))
        answer: pb.Response = yield _calls.pin_request(handle, keys, ttl, priority)
        return answer.pin.pinned

    def unpin(
        self, keys: Keys, *, namespace: Namespace | None = None, deadline: Deadline | float | None = None
    ) -> Call[int]:
        """Ends :meth:`pin`; returns how many keys were pinned."""
        _, handle = yield from self._begin(namespace, self._until(deadline))
        answer: pb.Response = yield _calls.unpin_request(handle, keys)
        return answer.unpin.unpinned

    def events(
        self, after: int = 0, *, limit: int = 0, wait: float = 0.0, deadline: Deadline | float | None = None
    ) -> Call[EventBatch]:
        """What happened to this tenant's objects since sequence number ``after``."""
        end = self._until(deadline)
        yield Attach(end)
        answer: pb.Response = yield _calls.events_request(after, limit, wait, end)
        return _calls.events_of(answer)

    def scores(
        self, keys: Keys, *, namespace: Namespace | None = None, deadline: Deadline | float | None = None
    ) -> Call[Scores]:
        """How many leading chunks of a prompt each node of the cluster holds, and how loaded it is.

        UnsupportedError when the node is in no cluster.
        """
        _, handle = yield from self._begin(namespace, self._until(deadline))
        answer: pb.Response = yield _calls.scores_request(handle, keys)
        return _calls.scores_of(answer.scores)

    def handoff(
        self,
        keys: Keys,
        target: str,
        *,
        ttl: float = 60.0,
        namespace: Namespace | None = None,
        deadline: Deadline | float | None = None,
    ) -> Call[int]:
        """Sends chunks to the node named ``target``: those that are here now, the others as they are committed.

        Those that do not come within ``ttl`` seconds are forgotten. Returns how many keys were accepted.
        UnsupportedError when the node is in no cluster, InvalidArgumentError when the cluster has no such node.
        """
        _, handle = yield from self._begin(namespace, self._until(deadline))
        answer: pb.Response = yield _calls.handoff_request(handle, keys, target, ttl)
        return answer.handoff.accepted

    def ping(self, payload: bytes = b"", *, deadline: Deadline | float | None = None) -> Call[bytes]:
        """A round trip; answers the payload."""
        yield Attach(self._until(deadline))
        answer: pb.Response = yield _calls.ping_request(payload)
        return answer.ping.payload
