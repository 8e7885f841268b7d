"""The asyncio face: the same calls as :class:`kvasir.Client`, for engines that run an event loop.

Control messages travel on the loop; attaching, mapping and copying run on threads, since they release the GIL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

from kvasir import _engine_pb2 as pb
from kvasir._async_wire import AsyncWire
from kvasir._attacher import Attacher
from kvasir._attachment import Membership
from kvasir._copy import Copier
from kvasir._core import Core
from kvasir._steps import Attach, Call, Work, method_of
from kvasir.client import DEFAULT_ATTACH_SECONDS, DEFAULT_DEADLINE
from kvasir.deadline import Deadline
from kvasir.errors import ClosedError, KvasirError, NodeUnavailableError
from kvasir.identity import GroupRule, Namespace, Shard

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _awaited(
    call: Callable[Concatenate[Core, _P], Call[_T]],
) -> Callable[Concatenate[AsyncClient, _P], Coroutine[Any, Any, _T]]:
    """The method that makes a call and awaits its end."""

    async def method(self: AsyncClient, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await self._run(call(self._core, *args, **kwargs))

    return method_of(call, method)


class AsyncClient:
    """One process's attachment, for one event loop. Made by :meth:`connect` or :meth:`join`.

    Arguments, answers and errors are those of :class:`kvasir.Client`. A task that is cancelled during a copy goes on
    being cancelled once the copy has stopped. Leases are released with ``with lease:`` or ``lease.release()``.
    """

    def __init__(self, member: Membership, deadline: float, copies: int) -> None:
        self._attacher = Attacher(member, DEFAULT_ATTACH_SECONDS)
        self._core = Core(deadline, member.namespaces)
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

    async def _threaded(self, work: Work) -> object:
        """Runs on a thread. When this task is cancelled the work is stopped, and awaited, before that shows."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, work.run, self._copier)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            work.stop = True
            while not future.done():
                try:
                    await asyncio.wait([future])
                except asyncio.CancelledError:
                    continue
            if not future.cancelled():
                future.exception()
            raise

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

    # ---- calls; their arguments and documentation are in ``_core``

    async def _run(self, call: Call[_T]) -> _T:
        """Does a call's steps on the event loop, and those that keep a thread busy on the pool."""
        attach: Attach | None = None
        wire: AsyncWire | None = None
        try:
            step = next(call)
            while True:
                result: object
                try:
                    if isinstance(step, pb.Request):
                        assert attach is not None
                        assert wire is not None
                        result = await wire.call(step, attach.deadline)
                    elif isinstance(step, Attach):
                        attach = step
                        wire = await self._attach(step.deadline)
                        result = wire.attachment
                    else:
                        result = await self._threaded(step)
                except BaseException as error:
                    step = call.throw(error)
                else:
                    step = call.send(result)
        except StopIteration as end:
            answer: _T = end.value
            return answer

    lookup = _awaited(Core.lookup)
    resolve = _awaited(Core.resolve)
    load = _awaited(Core.load)
    load_prefix = _awaited(Core.load_prefix)
    renew = _awaited(Core.renew)
    store = _awaited(Core.store)
    open_namespace = _awaited(Core.open_namespace)
    pin = _awaited(Core.pin)
    unpin = _awaited(Core.unpin)
    events = _awaited(Core.events)
    scores = _awaited(Core.scores)
    handoff = _awaited(Core.handoff)
    ping = _awaited(Core.ping)

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
