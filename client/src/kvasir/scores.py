"""What a router asks: how much of a prompt each node of the cluster holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NodeScore:
    """One node: the leading chunks that it holds, and its load as it told last (about once a second)."""

    node: str
    incarnation: bytes
    prefix_chunks: int
    free_bytes: int
    queued_bytes: int
    leased_bytes: int


@dataclass(frozen=True)
class Scores:
    """This node first, then the others, the longest prefix first.

    ``complete`` is False when the directory did not answer in time: other nodes may hold more.
    """

    nodes: tuple[NodeScore, ...]
    complete: bool
