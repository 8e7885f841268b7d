"""One process of a session: its connection, its mappings, and the lock that shows that it lives.

The client's faces hold one of these; when it is void they make the next (``_attacher``).
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kvasir import _engine_pb2 as pb
from kvasir._lock import AttachmentLock, CopyMarks
from kvasir._memory import require_supported_machine
from kvasir._wire import Wire
from kvasir.deadline import Deadline
from kvasir.errors import KvasirError, UnsupportedError
from kvasir.identity import GroupRule, Namespace, Shard
from kvasir.regions import RegionMap

PROTOCOL: Final = 1


@dataclass(frozen=True)
class Membership:
    """How a client becomes part of a session: it creates one from ``shards``, or joins ``session`` by its secret."""

    socket_path: str
    name: str = "engine"
    token: bytes = b""
    shards: Sequence[Shard] = ()
    groups: Sequence[GroupRule] = ()
    session: int = 0
    secret: bytes = b""
    spin: float = 0.0
    namespaces: dict[Namespace, None] = field(default_factory=dict)

    def attach_message(self, quiesced: Sequence[int]) -> pb.Attach:
        """As the schema spells it."""
        if self.session:
            return pb.Attach(join=pb.JoinSession(session=self.session, secret=self.secret), quiesced=quiesced)
        create = pb.CreateSession(
            name=self.name,
            shards=[shard.message() for shard in self.shards],
            groups=[rule.message() for rule in self.groups],
        )
        return pb.Attach(create=create, quiesced=quiesced)


def open_request(namespace: Namespace) -> pb.Request:
    """Asks for the session's handle for a namespace."""
    return pb.Request(open_namespace=pb.OpenNamespace(namespace=namespace.message()))


class Attachment:
    """Attached: has said Hello, holds its lock, and has the tenant's regions mapped.

    Args:
        on_quiesced: called with the attachment's id once nothing of it is mapped any more.
    """

    def __init__(
        self, member: Membership, deadline: Deadline, quiesced: Sequence[int], on_quiesced: Callable[[int], None]
    ) -> None:
        require_supported_machine()
        self.forked = False
        self.void = False
        self._closing = threading.Lock()
        self._on_quiesced = on_quiesced
        self._attached = False
        self._lock: AttachmentLock | None = None
        self.regions: RegionMap | None = None
        self.wire: Final = Wire.connect(member.socket_path, deadline, member.spin)
        #: Sends without waiting for the answer; the asyncio face puts its own here.
        self.poster: Callable[[pb.Request], None] = self.wire.post
        #: Takes the socket out of an event loop before it is closed.
        self.before_close: Callable[[], None] | None = None
        self.handles: dict[Namespace, int] = {}
        _ATTACHMENTS.add(self)
        try:
            self._hello(member, deadline)
            self._attach(member, deadline, quiesced)
        except BaseException:
            self.close()
            raise

    def _hello(self, member: Membership, deadline: Deadline) -> None:
        hello = pb.Hello(protocol=PROTOCOL, client=f"{member.name} pid {os.getpid()}", token=member.token)
        answer = self.wire.call(pb.Request(hello=hello), deadline).hello
        if answer.protocol != PROTOCOL:
            raise UnsupportedError(f"the node speaks protocol {answer.protocol}; this client speaks {PROTOCOL}")
        self.wire.limit_frames(answer.max_frame_bytes)
        self.id: int = answer.attachment
        self.node: str = answer.node
        self.tenant: str = answer.tenant
        directory = Path(answer.directory)
        self._lock = AttachmentLock(directory / answer.lock_file)
        #: Which copies under leases run; stays when the lock is given up.
        self.copies: CopyMarks = self._lock.copies
        self.regions = RegionMap(directory, self._release_lock)
        self.wire.on_regions = self.regions.add_unmapped

    def _attach(self, member: Membership, deadline: Deadline, quiesced: Sequence[int]) -> None:
        answer = self.wire.call(pb.Request(attach=member.attach_message(quiesced)), deadline).attach
        self._attached = True
        self.session: int = answer.session
        self.secret: bytes = answer.secret
        self.shards = tuple(Shard.of(shard) for shard in answer.shards)
        self.first_handle: int | None = answer.namespaces[0].handle if answer.namespaces else None
        assert self.regions is not None
        self.regions.add(answer.regions)
        for namespace in list(member.namespaces):
            opened = self.wire.call(open_request(namespace), deadline).open_namespace
            self.handles[namespace] = opened.handle

    @property
    def mapped(self) -> RegionMap:
        """The regions; only of an attachment that finished attaching."""
        assert self.regions is not None
        return self.regions

    @property
    def incarnation(self) -> bytes:
        """16 bytes; the node's."""
        return self.wire.incarnation

    def is_void(self) -> bool:
        """True once nothing under it can be used: copies stop."""
        return self.void or self.forked or self.wire.broken is not None

    def _release_lock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()
            if self._attached:
                # Before, it could reserve nothing: a worker that is refused again and again has nothing to tell.
                self._on_quiesced(self.id)

    def close(self) -> None:
        """Ends the connection; unmaps, and then gives the lock up, as soon as no copy runs. Idempotent."""
        with self._closing:
            if self.void or self.forked:
                return
            self.void = True
        if self.before_close is not None:
            self.before_close()
        self.wire.close()
        if self.regions is not None:
            self.regions.close()
        elif self._lock is not None:
            self._release_lock()

    def quietly(self, request: pb.Request | None) -> None:
        """Posts, unless there is nothing to post; a connection that broke has given everything back already."""
        if request is None or self.is_void():
            return
        try:
            self.poster(request)
        except KvasirError:
            return

    def after_fork_in_child(self) -> None:
        """In a child: nothing is mapped here, the lock is the parent's, and the socket must not be held open."""
        self.forked = True
        _PARENTS.append(self)
        self.wire.socket.close()


_ATTACHMENTS: weakref.WeakSet[Attachment] = weakref.WeakSet()
#: What a child inherited stays referenced: nothing of it may be cleaned up there.
_PARENTS: list[Attachment] = []


def _after_fork_in_child() -> None:
    for attachment in list(_ATTACHMENTS):
        attachment.after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)
