"""Kvasir's client: the engine side of the engine API.

:class:`Client` is the blocking face, :class:`kvasir.aio.AsyncClient` the asyncio one. The node owns the memory; this
package maps it and copies KV chunks between it and the engine's own memory.
"""

from kvasir._copy import Copies
from kvasir.client import Client
from kvasir.deadline import Deadline
from kvasir.errors import (
    CancelledError,
    ClosedError,
    DeadlineExceededError,
    ForkedError,
    InvalidArgumentError,
    KvasirError,
    NodeInternalError,
    NodeUnavailableError,
    NotAttachedError,
    NotPermittedError,
    ProtocolViolationError,
    RegionError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnknownLeaseError,
    UnknownNamespaceError,
    UnknownSessionError,
    UnsupportedError,
)
from kvasir.identity import GroupRule, Namespace, Shard
from kvasir.lease import Event, EventBatch, Lease, LoadResult, PlanRange, StoreResult
from kvasir.pieces import Pieces
from kvasir.records import SlotStatus, Tier
from kvasir.scores import NodeScore, Scores

__all__ = [
    "CancelledError",
    "Client",
    "ClosedError",
    "Copies",
    "Deadline",
    "DeadlineExceededError",
    "Event",
    "EventBatch",
    "ForkedError",
    "GroupRule",
    "InvalidArgumentError",
    "KvasirError",
    "Lease",
    "LoadResult",
    "Namespace",
    "NodeInternalError",
    "NodeScore",
    "NodeUnavailableError",
    "NotAttachedError",
    "NotPermittedError",
    "Pieces",
    "PlanRange",
    "ProtocolViolationError",
    "RegionError",
    "ResourceExhaustedError",
    "Scores",
    "Shard",
    "SlotStatus",
    "StoreResult",
    "Tier",
    "UnauthenticatedError",
    "UnknownLeaseError",
    "UnknownNamespaceError",
    "UnknownSessionError",
    "UnsupportedError",
]
