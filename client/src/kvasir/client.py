"""The blocking face: one attachment of one process. Engines' worker and scheduler threads call it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

from kvasir import _engine_pb2 as pb
from kvasir._attacher import Attacher
from kvasir._attachment import Attachment, Membership
from kvasir._copy import Copier, Copies
from kvasir._core import Core
from kvasir._steps import Attach, Call, method_of
from kvasir._wire import Wire
from kvasir.deadline import Deadline
from kvasir.identity import GroupRule, Namespace, Shard

_P = ParamSpec("_P")
_T = TypeVar("_T")
DEFAULT_DEADLINE = 2.0
DEFAULT_ATTACH_SECONDS = 30.0


def _blocking(call: Callable[Concatenate[Core, _P], Call[_T]]) -> Callable[Concatenate[Client, _P], _T]:
    """The method that makes a call and waits for its end."""

    def method(self: Client, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return self._run(call(self._core, *args, **kwargs))

    return method_of(call, method)


class Client:
    """One process's attachment to the node. Thread-safe. Made by :meth:`connect` or :meth:`join`.

    Every call takes ``deadline``: a :class:`Deadline` or seconds from now (default: the client's). Every call may raise
    :class:`NodeUnavailableError` (no node answers; tried again by a later call), :class:`DeadlineExceededError`,
    :class:`ForkedError`, :class:`ClosedError`, and what the node answers (:mod:`kvasir.errors`). After a restart of the
    node the next call attaches again; leases given before are void, and loads of them are misses.
    """

    def __init__(self, member: Membership, deadline: float, copies: Copies) -> None:
        self._attacher = Attacher(member, DEFAULT_ATTACH_SECONDS)
        self._core = Core(deadline, member.namespaces)
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
        return self._attacher.wait(Deadline.after(self._core.deadline))

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

    # ---- calls; their arguments and documentation are in ``_core``

    def _run(self, call: Call[_T]) -> _T:
        """Does a call's steps on this thread."""
        attach: Attach | None = None
        wire: Wire | None = None
        try:
            step = next(call)
            while True:
                result: object
                try:
                    if isinstance(step, pb.Request):
                        assert attach is not None
                        assert wire is not None
                        result = wire.call(step, attach.deadline)
                    elif isinstance(step, Attach):
                        attach = step
                        result = attachment = self._attacher.wait(step.deadline)
                        wire = attachment.wire
                    else:
                        result = step.run(self._copier)
                except BaseException as error:
                    step = call.throw(error)
                else:
                    step = call.send(result)
        except StopIteration as end:
            answer: _T = end.value
            return answer

    lookup = _blocking(Core.lookup)
    resolve = _blocking(Core.resolve)
    load = _blocking(Core.load)
    load_prefix = _blocking(Core.load_prefix)
    renew = _blocking(Core.renew)
    store = _blocking(Core.store)
    open_namespace = _blocking(Core.open_namespace)
    pin = _blocking(Core.pin)
    unpin = _blocking(Core.unpin)
    events = _blocking(Core.events)
    scores = _blocking(Core.scores)
    handoff = _blocking(Core.handoff)
    ping = _blocking(Core.ping)

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
