"""What the scheduler's half knows of each request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kvasir_vllm.scheduler.adapters import Adapter
from kvasir_vllm.scheduler.handoff import Tail
from kvasir_vllm.scheduler.lookups import Lookup
from kvasir_vllm.shared.metadata import BlockTable


@dataclass(eq=False)
class Tracked:
    """One request that vLLM has told of and not ended.

    Attributes:
        adapter: that it is computed with.
        gives_to: the node whose engine this request is computed for; empty for nearly all.
        takes: another engine computes the prompt for this one.
        handed_off: whether the node was told where its chunks go.
        tail: the prompt's, until it is ordered or taken.
        next_chunk: the first whose store was not ordered, of those that the request computes; -1 before its first step.
        computed_chunks: those ahead of it were seen to be computed, or were in vLLM's cache.
        missing: chunks ahead of ``next_chunk`` that the node is to be given, in ascending order.
        session: for which ``missing`` was found out.
        stale: something of it was computed before the identity changed; nothing of it is stored.
    """

    request: Any
    adapter: Adapter
    gives_to: str = ""
    handed_off: bool = False
    takes: bool = False
    tail: Tail | None = None
    lookup: Lookup | None = None
    asked_at: float = 0.0
    begin: int = 0
    loading: bool = False
    no_more_loads: bool = False
    next_chunk: int = -1
    computed_chunks: int = 0
    missing: list[int] = field(default_factory=list)
    session: int = 0
    stale: bool = False
    table: BlockTable = ()

    @property
    def lora(self) -> str:
        """The namespace's field, once the adapter is known; empty without one."""
        return self.adapter.lora
