"""The requests that the demo replays, and the keys of their chunks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from pathlib import Path

BLOCK_TOKENS = 512
_SLICE = "conversation_trace_start.jsonl"


@dataclass(frozen=True)
class TraceRequest:
    """One prompt: ``chunk_ids`` has one id for each 512 tokens of it, chained over the prefix."""

    index: int
    input_tokens: int
    chunk_ids: tuple[int, ...]

    def tokens_of(self, chunks: int) -> int:
        """Tokens in the first ``chunks`` chunks; the last chunk of a prompt may be short."""
        return min(chunks * BLOCK_TOKENS, self.input_tokens)


def key_of(chunk_id: int) -> bytes:
    """The 32-byte key of a chunk id."""
    return hashlib.blake2b(chunk_id.to_bytes(8, "little"), digest_size=32, person=b"kvasir-demo").digest()


def read_trace(limit: int, path: Path | None = None) -> list[TraceRequest]:
    """The first ``limit`` requests of a trace; of the slice that comes with this package when no path is given."""
    if path is not None:
        with path.open(encoding="utf-8") as lines:
            return list(islice(_parse(lines), limit))
    with resources.files("kvasir_ops.data").joinpath(_SLICE).open(encoding="utf-8") as lines:
        return list(islice(_parse(lines), limit))


def _parse(lines: Iterator[str]) -> Iterator[TraceRequest]:
    for index, line in enumerate(lines):
        record = json.loads(line)
        ids = tuple(record["hash_ids"])
        tokens = record["input_length"]
        if not all(isinstance(chunk, int) and chunk >= 0 for chunk in ids) or not isinstance(tokens, int):
            raise ValueError(f"line {index + 1}: hash_ids must be whole numbers from 0 and input_length a number")
        yield TraceRequest(index, tokens, ids)


def endless_cache_hits(requests: list[TraceRequest]) -> int:
    """Chunks that a cache without limits, asked one request after the other, would have had: the most that can hit."""
    seen: set[int] = set()
    hits = 0
    for request in requests:
        for chunk in request.chunk_ids:
            if chunk not in seen:
                break
            hits += 1
        seen.update(request.chunk_ids)
    return hits
