"""The blocking face: one attachment of one process. Engines' worker and scheduler threads call it."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from kvasir import _calls
from kvasir import _engine_pb2 as pb
from kvasir._attacher import Attacher
from kvasir._attachment import Attachment, Membership
from kvasir._calls import LoadCall, LookupOptions, StoreCall
from kvasir._copy import Copier, Copies
from kvasir.deadline import Deadline
from kvasir.errors import KvasirError
from kvasir.identity import KEY_BYTES, GroupRule, Keys, Namespace, Shard, pack_keys
from kvasir.lease import EventBatch, Lease, LoadResult, StoreResult
from kvasir.pieces import Places
from kvasir.scores import Scores

DEFAULT_DEADLINE = 2.0
DEFAULT_ATTACH_SECONDS = 30.0


class Client:
    """One process's attachment to the node. Thread-safe. Made by :meth:`connect` or :meth:`join`.

    Every call takes ``deadline``: a :class:`Deadline` or seconds from now (default: the client's). Every call may raise
    :class:`NodeUnavailableError` (no node answers; tried again by a later call), :class:`DeadlineExceededError`,
    :class:`ForkedError`, :class:`ClosedError`, and what the node answers (:mod:`kvasir.errors`). After a restart of the
    node the next call attaches again; leases given before are void, and loads of them are misses.
    """

    def __init__(self, member: Membership, deadline: float, copies: Copies) -> None:
        self._attacher = Attacher(member, DEFAULT_ATTACH_SECONDS)
        self._default = deadline
        self._copier = copies

    @staticmethod
    def connect(
        socket_path: str,
        *,
        namespace: Namespace | None = None,
        shards: Sequence[Shard] = (Shard(),),
        groups: Sequence[GroupRule] = (),
        name: str = "engine",
        token: bytes = b"",
        deadline: float = DEFAULT_DEADLINE,
        attach_deadline: float = DEFAULT_ATTACH_SECONDS,
        copy_threads: int = 1,
        spin: float = 0.0,
        copier: Copies | None = None,
    ) -> Client:
        """Creates a session and attaches to it.

        Args:
            socket_path: the node's Unix domain socket.
            namespace: used by calls that name none.
            shards: everything one chunk consists of for this engine; later calls name shards by index.
            groups: hit rules; a group without one needs every chunk.
            name: for people and metrics.
            token: names the tenant where the node is configured with tokens.
            deadline: seconds a call may take when it does not say.
            attach_deadline: seconds this first attaching may take (it maps the arena).
            copy_threads: threads that copy in one load or store, the calling one included.
            spin: seconds to look for an answer before the thread sleeps; costs processor time.
            copier: moves the bytes of loads and stores, for memory that this process cannot address (a GPU's); closed
                with the client.
        """
        opened = {namespace: None} if namespace is not None else {}
        member = Membership(socket_path, name, token, tuple(shards), tuple(groups), spin=spin, namespaces=opened)
        return Client._attached(member, deadline, attach_deadline, copier or Copier(copy_threads))

    @staticmethod
    def join(
        socket_path: str,
        session: int,
        secret: bytes,
        *,
        namespace: Namespace | None = None,
        name: str = "worker",
        token: bytes = b"",
        deadline: float = DEFAULT_DEADLINE,
        attach_deadline: float = DEFAULT_ATTACH_SECONDS,
        copy_threads: int = 1,
        spin: float = 0.0,
        copier: Copies | None = None,
    ) -> Client:
        """Joins a session that another process of the engine created (its ``session`` and ``secret``).

        After a restart of the node the session is gone: calls raise :class:`UnknownSessionError` until :meth:`rejoin`.

        Args:
            socket_path, session, secret: the node's socket, and what the creating process was given.
            namespace, name, token, deadline, attach_deadline, copy_threads, spin, copier: as in :meth:`connect`.
        """
        opened = {namespace: None} if namespace is not None else {}
        member = Membership(socket_path, name, token, session=session, secret=secret, spin=spin, namespaces=opened)
        return Client._attached(member, deadline, attach_deadline, copier or Copier(copy_threads))

    @staticmethod
    def _attached(member: Membership, deadline: float, attach_deadline: float, copies: Copies) -> Client:
        client = Client(member, deadline, copies)
        try:
            client._attacher.wait(Deadline.after(attach_deadline))
        except BaseException:
            client.close()
            raise
        return client

    def rejoin(self, session: int, secret: bytes) -> None:
        """Gives a joined client the session that its engine created anew; the next call attaches to it."""
        self._attacher.rejoin(session, secret)

    # ---- what this attachment is

    @property
    def attachment(self) -> Attachment:
        """The attachment in use; attaches when there is none."""
        return self._attacher.wait(Deadline.after(self._default))

    @property
    def session(self) -> int:
        """The session's id, for :meth:`join` in other processes."""
        return self.attachment.session

    @property
    def secret(self) -> bytes:
        """The session's secret, for :meth:`join` in other processes of the same engine."""
        return self.attachment.secret

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The session's shards, by index."""
        return self.attachment.shards

    @property
    def incarnation(self) -> bytes:
        """The node's 16-byte incarnation."""
        return self.attachment.incarnation

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
    ) -> Lease:
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
        return self._lookup(pack_keys(keys), namespace, options, Deadline.of(deadline, self._default))

    def _lookup(self, packed: bytes, namespace: Namespace | None, options: LookupOptions, deadline: Deadline) -> Lease:
        attachment = self._attacher.wait(deadline)
        handle = self._handle(attachment, namespace, deadline)
        sent = _calls.now()
        answer = attachment.wire.call(_calls.lookup_request(handle, packed, options, deadline), deadline).lookup
        try:
            attachment.mapped.announce(answer.regions)
            return _calls.lookup_lease(attachment, answer, len(packed) // KEY_BYTES, options, sent)
        except BaseException:
            if answer.lease:
                attachment.quietly(_calls.release_request(answer.lease))
            raise

    def resolve(self, lease: int, shards: Sequence[int] = (), *, deadline: Deadline | float | None = None) -> Lease:
        """The slots of a lease that another process of the session was given; releasing gives back these shards."""
        end = Deadline.of(deadline, self._default)
        attachment = self._attacher.wait(end)
        sent = _calls.now()
        answer = attachment.wire.call(_calls.resolve_request(lease, shards), end).resolve
        attachment.mapped.announce(answer.regions)
        return _calls.resolve_lease(attachment, lease, answer, shards, sent)

    def load(
        self, lease: Lease, destinations: Places, *, verify: bool = False, deadline: Deadline | float | None = None
    ) -> LoadResult:
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
        return LoadCall(lease, destinations, verify).run(self._copier, Deadline.of(deadline, self._default))

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
    ) -> LoadResult:
        """Lookup, load and release in one. Failures of the node are misses, said in ``LoadResult.error``.

        Args:
            keys: see :meth:`lookup`.
            destinations: places for all keys x shards, chunk-major; those of chunks that are no hits are left alone.
            namespace, wait, shards, verify: as in :meth:`lookup` and :meth:`load`.

        Raises:
            InvalidArgumentError: as :meth:`lookup` and :meth:`load`.
        """
        end = Deadline.of(deadline, self._default)
        packed = pack_keys(keys)
        try:
            with self._lookup(packed, namespace, LookupOptions(wait=wait, shards=shards), end) as lease:
                return LoadCall(lease, destinations, verify, trim=True).run(self._copier, end)
        except ValueError:
            raise
        except KvasirError as error:
            return LoadResult.nothing(error)

    def renew(
        self, leases: Sequence[Lease], lease_seconds: float = 0.0, *, deadline: Deadline | float | None = None
    ) -> list[bool]:
        """Prolongs leases; False for one that ended. ``lease_seconds`` 0: the node's default."""
        end = Deadline.of(deadline, self._default)
        attachment = self._attacher.wait(end)
        sent = _calls.now()
        request = _calls.renew_request(leases, lease_seconds)
        answer = attachment.wire.call(request, end).renew
        return _calls.renewed(leases, answer, lease_seconds, sent)

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
    ) -> StoreResult:
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
            wait: seconds that the node may hold the answer while room is made.

        Raises:
            InvalidArgumentError: sources that are no memory, or leave gaps.
            KvasirError: the node failed between the steps; slots were given back once the copies had stopped.
        """
        end = Deadline.of(deadline, self._default)
        call = StoreCall(
            keys, sources, shard=shard, parents=parents, chunk_index=chunk_index, crc32c=crc32c,
            block_hashes=block_hashes, priority=priority, ttl=ttl, wait=wait,
        )  # fmt: skip
        attachment = self._attacher.wait(end)
        handle = self._handle(attachment, namespace, end)
        answer = attachment.wire.call(call.reserve_request(handle, end), end).reserve
        call.take(answer)
        try:
            attachment.mapped.announce(answer.regions)
            if call.has_slots():
                call.copy(attachment, self._copier, end)
        except BaseException:
            self._post(attachment, call.abort_request(everything=True))
            raise
        self._post(attachment, call.abort_request(everything=False))
        commit = call.commit_request()
        try:
            if commit is not None:
                call.committed(attachment.wire.call(commit, end).commit)
        except BaseException:
            # A commit that went out comes first, and then there is nothing to abort.
            self._post(attachment, call.abort_request(everything=True))
            raise
        return call.result()

    # ---- the rest

    def open_namespace(self, namespace: Namespace, *, deadline: Deadline | float | None = None) -> None:
        """Opens a namespace ahead of its first use; calls open theirs by themselves."""
        end = Deadline.of(deadline, self._default)
        self._handle(self._attacher.wait(end), namespace, end)

    def pin(
        self,
        keys: Keys,
        ttl: float,
        *,
        namespace: Namespace | None = None,
        priority: int = 0,
        deadline: Deadline | float | None = None,
    ) -> int:
        """Keeps what is there of these keys from being evicted for ``ttl`` seconds; returns how many keys that was."""
        end = Deadline.of(deadline, self._default)
        attachment = self._attacher.wait(end)
        handle = self._handle(attachment, namespace, end)
        return attachment.wire.call(_calls.pin_request(handle, keys, ttl, priority), end).pin.pinned

    def unpin(self, keys: Keys, *, namespace: Namespace | None = None, deadline: Deadline | float | None = None) -> int:
        """Ends :meth:`pin`; returns how many keys were pinned."""
        end = Deadline.of(deadline, self._default)
        attachment = self._attacher.wait(end)
        handle = self._handle(attachment, namespace, end)
        return attachment.wire.call(_calls.unpin_request(handle, keys), end).unpin.unpinned

    def events(
        self, after: int = 0, *, limit: int = 0, wait: float = 0.0, deadline: Deadline | float | None = None
    ) -> EventBatch:
        """What happened to this tenant's objects since sequence number ``after``."""
        end = Deadline.of(deadline, self._default)
        attachment = self._attacher.wait(end)
        return _calls.events_of(attachment.wire.call(_calls.events_request(after, limit, wait, end), end))

    def scores(
        self, keys: Keys, *, namespace: Namespace | None = None, deadline: Deadline | float | None = None
    ) -> Scores:
        """How many leading chunks of a prompt each node of the cluster holds, and how loaded it is.

        UnsupportedError when the node is in no cluster.
        """
        end = Deadline.of(deadline, self._default)
        attachment = self._attacher.wait(end)
        handle = self._handle(attachment, namespace, end)
        return _calls.scores_of(attachment.wire.call(_calls.scores_request(handle, keys), end).scores)

    def handoff(
        self,
        keys: Keys,
        target: str,
        *,
        ttl: float = 60.0,
        namespace: Namespace | None = None,
        deadline: Deadline | float | None = None,
    ) -> int:
        """Sends chunks to the node named ``target``: those that are here now, the others as they are committed.

        Those that do not come within ``ttl`` seconds are forgotten. Returns how many keys were accepted.
        UnsupportedError when the node is in no cluster, InvalidArgumentError when the cluster has no such node.
        """
        end = Deadline.of(deadline, self._default)
        attachment = self._attacher.wait(end)
        handle = self._handle(attachment, namespace, end)
        return attachment.wire.call(_calls.handoff_request(handle, keys, target, ttl), end).handoff.accepted

    def ping(self, payload: bytes = b"", *, deadline: Deadline | float | None = None) -> bytes:
        """A round trip; answers the payload."""
        end = Deadline.of(deadline, self._default)
        return self._attacher.wait(end).wire.call(_calls.ping_request(payload), end).ping.payload

    def _handle(self, attachment: Attachment, namespace: Namespace | None, deadline: Deadline) -> int:
        handle = _calls.handle_of(attachment, namespace)
        if handle is None:
            assert namespace is not None
            handle = attachment.open_namespace(namespace, deadline)
            self._attacher.member.namespaces[namespace] = None
        return handle

    @staticmethod
    def _post(attachment: Attachment, request: pb.Request | None) -> None:
        if request is not None:
            attachment.quietly(request)

    def close(self) -> None:
        """Ends the attachment: unmaps once no copy runs, then gives its lock up. Idempotent."""
        self._attacher.close()
        self._copier.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError("a Client cannot be pickled: give other processes its session and secret, and join there")
