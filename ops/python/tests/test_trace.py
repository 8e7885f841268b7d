"""The demo's trace: what is shipped, how it is read, and what a cache could reach on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvasir_ops.replay.trace import BLOCK_TOKENS, TraceRequest, endless_cache_hits, key_of, read_trace


def test_shipped_slice_has_requests_that_share_prefixes() -> None:
    requests = read_trace(10_000)
    assert len(requests) == 1000
    assert all(-(-request.input_tokens // BLOCK_TOKENS) == len(request.chunk_ids) for request in requests)
    assert endless_cache_hits(requests) == 5791


def test_limit_cuts_the_trace() -> None:
    assert [request.index for request in read_trace(3)] == [0, 1, 2]


def test_short_last_chunk_counts_its_own_tokens_only() -> None:
    request = TraceRequest(0, 700, (1, 2))
    assert [request.tokens_of(chunks) for chunks in (0, 1, 2)] == [0, 512, 700]


def test_hits_of_an_endless_cache_end_at_the_first_unknown_chunk() -> None:
    first = TraceRequest(0, 3 * BLOCK_TOKENS, (1, 2, 3))
    second = TraceRequest(1, 3 * BLOCK_TOKENS, (1, 9, 3))
    assert endless_cache_hits([first, second]) == 1


def test_keys_have_32_bytes_and_differ() -> None:
    keys = {key_of(chunk) for chunk in range(1000)}
    assert len(keys) == 1000
    assert {len(key) for key in keys} == {32}


def test_bad_line_is_refused_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text('{"input_length": 5, "hash_ids": [1]}\n{"input_length": 5, "hash_ids": [-1]}\n')
    with pytest.raises(ValueError, match="line 2"):
        read_trace(10, path)
