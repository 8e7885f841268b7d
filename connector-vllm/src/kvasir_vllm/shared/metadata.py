"""What the scheduler's and the workers' halves tell each other; pickled by vLLM between its processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from kvasir import Namespace
from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorHandshakeMetadata,
    KVConnectorMetadata,
    KVConnectorWorkerMetadata,
)

BlockTable = tuple[list[int], ...]
"""Block ids for each KV group, in the order of the tokens."""


@dataclass(frozen=True)
class Ticket:
    """How a worker joins the scheduler's session with the node, and in which namespace it works.

    Attributes:
        session, secret: of the session.
        namespace: fields of :class:`kvasir.Namespace`, LoRA excepted.
    """

    session: int
    secret: bytes
    namespace: Mapping[str, object]

    def opened(self, lora: str) -> Namespace:
        """The namespace for an adapter; ``lora`` is empty without one."""
        return Namespace(**self.namespace, lora=lora)  # type: ignore[arg-type]


@dataclass(frozen=True)
class LoadOrder:
    """Load tokens ``begin`` to ``end`` of a request into its blocks.

    Attributes:
        request: id.
        lease: of the chunks from ``first_chunk`` on.
        first_chunk: index of the lease's first chunk in the prompt.
        begin, end: tokens; what lies before ``begin`` is the engine's own and is not written. Multiples of the block,
            except where ``end`` is that of a prompt that was handed off.
        blocks: for each group the ids of the blocks that hold these tokens.
        ticket: of the session that owns the lease.
    """

    request: str
    lease: int
    first_chunk: int
    begin: int
    end: int
    blocks: BlockTable
    ticket: Ticket


@dataclass(frozen=True)
class StoreOrder:
    """Store whole chunks of a request, or what lies behind them.

    Attributes:
        job: number under which every rank reports that it is done.
        keys, parents: n x 32 packed bytes.
        first_chunk: index of the first chunk in its prompt.
        blocks: for each group n x blocks-in-a-chunk ids; of a tail as many as it has.
        lora: the adapter's digest; empty without one.
        ticket: of the session.
        tail_seconds: 0 for whole chunks. Else this is the one tail of a prompt that is handed off, kept that long.
    """

    job: int
    keys: bytes
    parents: bytes
    first_chunk: int
    blocks: BlockTable
    lora: str
    ticket: Ticket
    tail_seconds: float = 0.0


@dataclass
class KvasirMetadata(KVConnectorMetadata):  # type: ignore[misc]
    """One step's orders.

    Attributes:
        ticket: of the session that is in use now; workers join it ahead of their first order.
        idle: the step computes nothing, so that a worker may wait a moment for what is in flight.
        asking: lookups are under way.
        step: number under which the worker reports this step; 0: it computes nothing.
    """

    ticket: Ticket | None = None
    loads: list[LoadOrder] = field(default_factory=list)
    stores: list[StoreOrder] = field(default_factory=list)
    idle: bool = False
    asking: bool = False
    step: int = 0


@dataclass
class KvasirWorkerMetadata(KVConnectorWorkerMetadata):  # type: ignore[misc]
    """What became of orders since the last step, over all ranks.

    Attributes:
        stored: how many ranks are done with each store job, whether or not anything was stored.
        refused: jobs of which some rank did not store everything.
        loads: requests whose load ended on some rank, with how many ranks failed.
        step: the number of the step whose output this is; 0 when it computed nothing.
    """

    stored: Counter[int] = field(default_factory=Counter)
    refused: set[int] = field(default_factory=set)
    loads: Counter[str] = field(default_factory=Counter)
    failed_loads: set[str] = field(default_factory=set)
    step: int = 0

    def aggregate(self, other: KVConnectorWorkerMetadata) -> KVConnectorWorkerMetadata:
        """Both ranks' outcomes."""
        assert isinstance(other, KvasirWorkerMetadata)
        return KvasirWorkerMetadata(
            self.stored + other.stored,
            self.refused | other.refused,
            self.loads + other.loads,
            self.failed_loads | other.failed_loads,
            max(self.step, other.step),
        )


@dataclass
class WorkerLayout(KVConnectorHandshakeMetadata):  # type: ignore[misc]
    """What a worker's pages look like; the scheduler makes the namespace's fingerprint of it.

    Attributes:
        fingerprint: everything that another engine's pages must have in common with these.
        object_bytes: of one chunk's object, for each KV group.
    """

    fingerprint: str
    object_bytes: tuple[int, ...]
