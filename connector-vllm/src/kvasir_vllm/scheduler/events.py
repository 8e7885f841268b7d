"""KV events in vLLM's own format: which chunks this engine has stored, and which have left the tier."""

from __future__ import annotations

from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import Any

from vllm.distributed.kv_events import BlockRemoved, BlockStored

from kvasir_vllm.shared.chunks import Chunking, key_of

MOST = 1 << 20
"""Chunks whose removal will be published."""

MEDIUM = "KVASIR"
"""The ``medium`` of these events."""


class StoredEvents:
    """Collects events between two calls of vLLM's scheduler. One block of an event is one chunk."""

    def __init__(self) -> None:
        self._ordered: dict[int, BlockStored] = {}
        self._ready: list[BlockStored | BlockRemoved] = []
        # What was published as stored, and not as removed: the engine's hash by key.
        self._told: dict[bytes, bytes] = {}
        self._gone: SimpleQueue[bytes] = SimpleQueue()

    def ordered(self, job: int, request: Any, first: int, end: int, chunking: Chunking) -> None:
        """A store of these chunks was ordered."""
        step = chunking.chunk // chunking.hashed
        hashes = request.block_hashes
        last = [hashes[index] for index in range((first + 1) * step - 1, end * step, step)]
        lora = request.lora_request
        self._ordered[job] = BlockStored(
            block_hashes=[bytes(item) for item in last],
            parent_block_hash=bytes(hashes[first * step - 1]) if first else None,
            token_ids=list(request.all_token_ids[first * chunking.chunk : end * chunking.chunk]),
            block_size=chunking.chunk,
            lora_id=lora.lora_int_id if lora is not None else None,
            medium=MEDIUM,
            lora_name=lora.lora_name if lora is not None else None,
        )

    def refused(self, job: int) -> None:
        """Some rank did not store all of it; nothing is said about it."""
        self._ordered.pop(job, None)

    def stored(self, job: int) -> None:
        """All ranks are done."""
        event = self._ordered.pop(job, None)
        if event is not None:
            self._ready.append(event)
            if len(self._told) < MOST:
                self._told.update((key_of(one), one) for one in event.block_hashes)

    def removed(self, key: bytes) -> None:
        """The node does not have this chunk any more. On any thread."""
        self._gone.put(key)

    def take(self) -> Iterator[BlockStored | BlockRemoved]:
        """What came since the last call."""
        ready, self._ready = self._ready, []
        yield from ready
        removed = []
        while not self._gone.empty():
            try:
                one = self._told.pop(self._gone.get_nowait(), None)
            except Empty:
                break
            if one is not None:
                removed.append(one)
        if removed:
            yield BlockRemoved(block_hashes=removed, medium=MEDIUM)
