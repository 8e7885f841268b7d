"""The asyncio face: the same calls as :class:`kvasir.Client`, for engines that run an event loop.

Control messages travel on the loop; attaching, mapping and copying run on threads, since they release the GIL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from kvasir import _calls
from kvasir import _engine_pb2 as pb
from kvasir._async_wire import AsyncWire
from kvasir._attacher import Attacher
from kvasir._attachment import Membership
from kvasir._calls import LoadCall, LookupOptions, StoreCall
from kvasir._copy import Copier
from kvasir.client import DEFAULT_ATTACH_SECONDS, DEFAULT_DEADLINE
from kvasir.deadline import Deadline
from kvasir.errors import ClosedError, KvasirError, NodeUnavailableError
from kvasir.identity import KEY_BYTES, GroupRule, Keys, Namespace, Shard, pack_keys
from kvasir.lease import EventBatch, Lease, LoadResult, StoreResult
from kvasir.pieces import Places
from kvasir.scores import Scores

_T = TypeVar("_T")
_Copying = LoadCall | StoreCall


class AsyncClient:
    """One process's attachment, for one event loop. Made by :meth:`connect` or :meth:`join`.

    Arguments, answers and errors are those of :class:`kvasir.Client`. A task that is cancelled during a copy goes on
    being cancelled once the copy has stopped. Leases are released with ``with lease:`` or ``lease.release()``.
    """

    def __init__(self, member: Membership, deadline: float, copies: int) -> None:
        self._attacher = Attacher(member, DEFAULT_ATTACH_SECONDS)
        self._default = deadline
        self._copier = Copier()
        self._pool = ThreadPoolExecutor(copies, "kvasir-aio")
        self._wire: AsyncWire | None = None

    @staticmethod
    async def connect(
        socket_path: str,
        *,
        namespace: Namespace | None = None,
        shards: Sequence[Shard] = (Shard(),),
        groups: Sequence[GroupRule] = (),
        name: str = "engine",
        token: bytes = b"",
        deadline: float = DEFAULT_DEADLINE,
        attach_deadline: float = DEFAULT_ATTACH_SECONDS,
        copies: int = 2,
    ) -> AsyncClient:
        """See :meth:`kvasir.Client.connect`; ``copies`` loads and stores may copy at the same time."""
        opened = {namespace: None} if namespace is not None else {}
        member = Membership(socket_path, name, token, tuple(shards), tuple(groups), namespaces=opened)
        return await AsyncClient._attached(member, deadline, attach_deadline, copies)

    @staticmethod
    async def join(
        socket_path: str,
        session: int,
        secret: bytes,
        *,
        namespace: Namespace | None = None,
        name: str = "worker",
        token: bytes = b"",
        deadline: float = DEFAULT_DEADLINE,
        attach_deadline: float = DEFAULT_ATTACH_SECONDS,
        copies: int = 2,
    ) -> AsyncClient:
        """See :meth:`kvasir.Client.join`."""
        opened = {namespace: None} if namespace is not None else {}
        member = Membership(socket_path, name, token, session=session, secret=secret, namespaces=opened)
        return await AsyncClient._attached(member, deadline, attach_deadline, copies)

    @staticmethod
    async def _attached(member: Membership, deadline: float, attach_deadline: float, copies: int) -> AsyncClient:
        client = AsyncClient(member, deadline, copies)
        try:
            await client._attach(Deadline.after(attach_deadline))
        except BaseException:
            await client.close()
            raise
        return client

    async def _attach(self, deadline: Deadline) -> AsyncWire:
        attachment = self._attacher.current()
        if attachment is None:
            attempt = asyncio.wrap_future(self._attacher.begin())
            # Looked at in any case: a caller whose deadline passes first does not see how the attempt ends.
            attempt.add_done_callback(lambda done: done.cancelled() or done.exception())
            attempt = asyncio.shield(attempt)
            try:
                attachment = await asyncio.wait_for(attempt, max(deadline.remaining(), 0))
            except KvasirError:
                raise
            except asyncio.TimeoutError as error:
                raise NodeUnavailableError("attaching to the node takes longer than this call's deadline") from error
        if self._wire is None or self._wire.attachment is not attachment:
            self._wire = AsyncWire(attachment, asyncio.get_running_loop())
        return self._wire

    async def _threaded(self, work: Callable[[], _T], stoppable: _Copying | None = None) -> _T:
        """Runs on a thread. When this task is cancelled the copy is stopped, and awaited, before that shows."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if stoppable is not None:
                stoppable.stop = True
            while not future.done():
                try:
                    await asyncio.wait([future])
                except asyncio.CancelledError:
                    continue
            if not future.cancelled():
                future.exception()
            raise

    async def _announce(self, wire: AsyncWire, regions: Sequence[pb.Region]) -> None:
        if regions:
            await self._threaded(lambda: wire.attachment.mapped.announce(regions))

    async def _handle(self, wire: AsyncWire, namespace: Namespace | None, deadline: Deadline) -> int:
        handle = _calls.handle_of(wire.attachment, namespace)
        if handle is None:
            assert namespace is not None
            request = pb.Request(open_namespace=pb.OpenNamespace(namespace=namespace.message()))
            handle = (await wire.call(request, deadline)).open_namespace.handle
            wire.attachment.handles[namespace] = handle
            self._attacher.member.namespaces[namespace] = None
        return handle

    @property
    def session(self) -> int:
        """The session's id, for joining it in other processes."""
        return self._attached_wire().attachment.session

    @property
    def secret(self) -> bytes:
        """The session's secret, for joining it in other processes of the same engine."""
        return self._attached_wire().attachment.secret

    def _attached_wire(self) -> AsyncWire:
        if self._wire is None:
            raise ClosedError("the client is not attached")
        return self._wire

    def rejoin(self, session: int, secret: bytes) -> None:
        """See :meth:`kvasir.Client.rejoin`."""
        self._attacher.rejoin(session, secret)

    async def lookup(
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
        """See :meth:`kvasir.Client.lookup`."""
        options = LookupOptions(
            wait, lease_seconds, peek, sparse, shards, computed_tokens, recompute_tokens_per_s, priority
        )
        return await self._lookup(pack_keys(keys), namespace, options, Deadline.of(deadline, self._default))

    async def _lookup(
        self, packed: bytes, namespace: Namespace | None, options: LookupOptions, deadline: Deadline
    ) -> Lease:
        wire = await self._attach(deadline)
        handle = await self._handle(wire, namespace, deadline)
        sent = _calls.now()
        answer = (await wire.call(_calls.lookup_request(handle, packed, options, deadline), deadline)).lookup
        try:
            await self._announce(wire, answer.regions)
            return _calls.lookup_lease(wire.attachment, answer, len(packed) // KEY_BYTES, options, sent)
        except BaseException:
            if answer.lease:
                wire.attachment.quietly(_calls.release_request(answer.lease))
            raise

    async def resolve(
        self, lease: int, shards: Sequence[int] = (), *, deadline: Deadline | float | None = None
    ) -> Lease:
        """See :meth:`kvasir.Client.resolve`."""
        end = Deadline.of(deadline, self._default)
        wire = await self._attach(end)
        sent = _calls.now()
        answer = (await wire.call(_calls.resolve_request(lease, shards), end)).resolve
        await self._announce(wire, answer.regions)
        return _calls.resolve_lease(wire.attachment, lease, answer, shards, sent)

    async def load(
        self, lease: Lease, destinations: Places, *, verify: bool = False, deadline: Deadline | float | None = None
    ) -> LoadResult:
        """See :meth:`kvasir.Client.load`."""
        end = Deadline.of(deadline, self._default)
        call = LoadCall(lease, destinations, verify)
        return await self._threaded(lambda: call.run(self._copier, end), call)

    async def load_prefix(
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
        """See :meth:`kvasir.Client.load_prefix`."""
        end = Deadline.of(deadline, self._default)
        packed = pack_keys(keys)
        try:
            with await self._lookup(packed, namespace, LookupOptions(wait=wait, shards=shards), end) as lease:
                call = LoadCall(lease, destinations, verify, trim=True)
                return await self._threaded(lambda: call.run(self._copier, end), call)
        except ValueError:
            raise
        except KvasirError as error:
            return LoadResult.nothing(error)

    async def renew(
        self, leases: Sequence[Lease], lease_seconds: float = 0.0, *, deadline: Deadline | float | None = None
    ) -> list[bool]:
        """See :meth:`kvasir.Client.renew`."""
        end = Deadline.of(deadline, self._default)
        wire = await self._attach(end)
        sent = _calls.now()
        answer = (await wire.call(_calls.renew_request(leases, lease_seconds), end)).renew
        return _calls.renewed(leases, answer, lease_seconds, sent)

    async def store(
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
        """See :meth:`kvasir.Client.store`."""
        end = Deadline.of(deadline, self._default)
        call = StoreCall(
            keys, sources, shard=shard, parents=parents, chunk_index=chunk_index, crc32c=crc32c,
            block_hashes=block_hashes, priority=priority, ttl=ttl, wait=wait,
        )  # fmt: skip
        wire = await self._attach(end)
        attachment = wire.attachment
        handle = await self._handle(wire, namespace, end)
        answer = (await wire.call(call.reserve_request(handle, end), end)).reserve
        call.take(answer)
        try:
            await self._announce(wire, answer.regions)
            if call.has_slots():
                await self._threaded(lambda: call.copy(attachment, self._copier, end), call)
        except BaseException:
            self._post(wire, call.abort_request(everything=True))
            raise
        self._post(wire, call.abort_request(everything=False))
        commit = call.commit_request()
        try:
            if commit is not None:
                call.committed((await wire.call(commit, end)).commit)
        except BaseException:
            # A commit that went out comes first, and then there is nothing to abort.
            self._post(wire, call.abort_request(everything=True))
            raise
        return call.result()

    async def pin(
        self,
        keys: Keys,
        ttl: float,
        *,
        namespace: Namespace | None = None,
        priority: int = 0,
        deadline: Deadline | float | None = None,
    ) -> int:
        """See :meth:`kvasir.Client.pin`."""
        end = Deadline.of(deadline, self._default)
        wire = await self._attach(end)
        handle = await self._handle(wire, namespace, end)
        return (await wire.call(_calls.pin_request(handle, keys, ttl, priority), end)).pin.pinned

    async def unpin(
        self, keys: Keys, *, namespace: Namespace | None = None, deadline: Deadline | float | None = None
    ) -> int:
        """See :meth:`kvasir.Client.unpin`."""
        end = Deadline.of(deadline, self._default)
        wire = await self._attach(end)
        handle = await self._handle(wire, namespace, end)
        return (await wire.call(_calls.unpin_request(handle, keys), end)).unpin.unpinned

    async def events(
        self, after: int = 0, *, limit: int = 0, wait: float = 0.0, deadline: Deadline | float | None = None
    ) -> EventBatch:
        """See :meth:`kvasir.Client.events`."""
        end = Deadline.of(deadline, self._default)
        wire = await self._attach(end)
        return _calls.events_of(await wire.call(_calls.events_request(after, limit, wait, end), end))

    async def scores(
        self, keys: Keys, *, namespace: Namespace | None = None, deadline: Deadline | float | None = None
    ) -> Scores:
        """See :meth:`kvasir.Client.scores`."""
        end = Deadline.of(deadline, self._default)
        wire = await self._attach(end)
        handle = await self._handle(wire, namespace, end)
        return _calls.scores_of((await wire.call(_calls.scores_request(handle, keys), end)).scores)

    async def handoff(
        self,
        keys: Keys,
        target: str,
        *,
        ttl: float = 60.0,
        namespace: Namespace | None = None,
        deadline: Deadline | float | None = None,
    ) -> int:
        """See :meth:`kvasir.Client.handoff`."""
        end = Deadline.of(deadline, self._default)
        wire = await self._attach(end)
        handle = await self._handle(wire, namespace, end)
        return (await wire.call(_calls.handoff_request(handle, keys, target, ttl), end)).handoff.accepted

    async def ping(self, payload: bytes = b"", *, deadline: Deadline | float | None = None) -> bytes:
        """See :meth:`kvasir.Client.ping`."""
        end = Deadline.of(deadline, self._default)
        wire = await self._attach(end)
        return (await wire.call(_calls.ping_request(payload), end)).ping.payload

    @staticmethod
    def _post(wire: AsyncWire, request: pb.Request | None) -> None:
        if request is not None:
            wire.attachment.quietly(request)

    async def close(self) -> None:
        """Ends the attachment: unmaps once no copy runs, then gives its lock up. Idempotent."""
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._attacher.close)
        finally:
            self._pool.shutdown(wait=False)
            self._copier.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
