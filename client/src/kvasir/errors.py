"""Typed errors of every public call. Each names its code, what was wrong, and what to do about it."""

from __future__ import annotations

from typing import ClassVar

from kvasir import _engine_pb2 as pb


class KvasirError(Exception):
    """Base of all errors here.

    Attributes:
        code: the engine API's error code by name, or a client-side one.
        hint: what to do.
    """

    code: ClassVar[str] = "UNKNOWN"
    hint: ClassVar[str] = "report it, with the node's log"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message} ({self.hint})"


class InvalidArgumentError(KvasirError, ValueError):
    """A request breaks a rule of the API; nothing was done."""

    code = "INVALID_ARGUMENT"
    hint = "correct the call"


class UnsupportedError(KvasirError):
    """The node or this machine does not serve this."""

    code = "UNSUPPORTED"
    hint = "use a client and a node of matching versions, on Linux x86-64"


class UnauthenticatedError(KvasirError):
    """The node knows no tenant for this uid or token."""

    code = "UNAUTHENTICATED"
    hint = "check the token and the node's tenants"


class NotPermittedError(KvasirError):
    """A session, lease or slot of somebody else; or a server on the node's socket that need not be the node."""

    code = "PERMISSION_DENIED"
    hint = "use only ids that this session was given, and only sockets of nodes that you trust"


class NotAttachedError(KvasirError):
    """A call came before Hello or Attach."""

    code = "NOT_ATTACHED"
    hint = "attach again"


class UnknownNamespaceError(KvasirError):
    """The session never opened this namespace."""

    code = "UNKNOWN_NAMESPACE"
    hint = "open the namespace first"


class UnknownLeaseError(KvasirError):
    """The lease ended, or the node was started again since."""

    code = "UNKNOWN_LEASE"
    hint = "look up again"


class UnknownSessionError(KvasirError):
    """The session ended, or the secret is wrong."""

    code = "UNKNOWN_SESSION"
    hint = "join with the id and secret that the engine's creating process has now"


class ResourceExhaustedError(KvasirError):
    """A limit of the node, the tenant or the attachment."""

    code = "RESOURCE_EXHAUSTED"
    hint = "release leases or raise the limit that the message names"


class DeadlineExceededError(KvasirError, TimeoutError):
    """The call's deadline passed. Copies that it had begun have stopped."""

    code = "DEADLINE_EXCEEDED"
    hint = "treat it as a miss"


class CancelledError(KvasirError):
    """The request was cancelled."""

    code = "CANCELLED"
    hint = "treat it as a miss"


class NodeUnavailableError(KvasirError, ConnectionError):
    """No node answers on the socket now; the next call tries again by itself."""

    code = "UNAVAILABLE"
    hint = "treat it as a miss; check that the node runs"


class NodeInternalError(KvasirError):
    """The node failed inside."""

    code = "INTERNAL"


class ProtocolViolationError(KvasirError):
    """The node sent something that the engine API does not allow; the connection was ended."""

    code = "PROTOCOL"
    hint = "use a client and a node of matching versions"


class RegionError(KvasirError):
    """A region file is not what its description says; it was not mapped."""

    code = "REGION"
    hint = "check the node's shared memory directory, and that this process may read it"


class ForkedError(KvasirError):
    """A child of fork uses its parent's attachment."""

    code = "FORKED"
    hint = "connect or join again in the child"


class ClosedError(KvasirError):
    """The client was closed."""

    code = "CLOSED"
    hint = "make a new client"


_BY_CODE: dict[int, type[KvasirError]] = {
    pb.Error.INVALID_ARGUMENT: InvalidArgumentError,
    pb.Error.UNSUPPORTED: UnsupportedError,
    pb.Error.UNAUTHENTICATED: UnauthenticatedError,
    pb.Error.PERMISSION_DENIED: NotPermittedError,
    pb.Error.NOT_ATTACHED: NotAttachedError,
    pb.Error.UNKNOWN_NAMESPACE: UnknownNamespaceError,
    pb.Error.UNKNOWN_LEASE: UnknownLeaseError,
    pb.Error.UNKNOWN_SESSION: UnknownSessionError,
    pb.Error.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    pb.Error.DEADLINE_EXCEEDED: DeadlineExceededError,
    pb.Error.CANCELLED: CancelledError,
    pb.Error.UNAVAILABLE: NodeUnavailableError,
    pb.Error.INTERNAL: NodeInternalError,
}


def error_of(error: pb.Error) -> KvasirError:
    """The typed error for one that the node answered."""
    return _BY_CODE.get(error.code, NodeInternalError)(error.message)
