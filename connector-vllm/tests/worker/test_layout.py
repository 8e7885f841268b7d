"""Where blocks lie in the engine's memory, and the copies that a load or a store needs."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from kvasir_vllm.shared.chunks import Chunking
from kvasir_vllm.shared.errors import UnsupportedEngineError
from kvasir_vllm.worker.layout import GroupPages, Layout, Strip, merged, strip_of


def test_pages_that_follow_each_other_in_a_block_are_one_copy() -> None:
    interleaved = [Strip(1000 + layer * 64, 256, 64) for layer in range(4)]
    assert merged(interleaved) == (Strip(1000, 256, 256),)
    apart = [Strip(1000 + layer * 4096, 64, 64) for layer in range(4)]
    assert merged(apart) == tuple(apart)


def test_layers_that_follow_each_other_in_memory_are_not_one_page() -> None:
    # The second layer begins where the first one's page of block 0 ends, and strides over the same blocks.
    assert merged([Strip(1000, 64, 64), Strip(1064, 64, 64)]) == (Strip(1000, 64, 64), Strip(1064, 64, 64))


def test_block_that_is_spread_over_memory_is_refused() -> None:
    with pytest.raises(UnsupportedEngineError, match="is spread over"):
        strip_of("layer", 0, (8, 2, 16), (16, 128, 1), 2, 8)


def test_block_made_of_smaller_rows_is_one_page() -> None:
    assert strip_of("layer", 4096, (32, 2, 16), (32, 16, 1), 2, 8) == Strip(4096, 256, 256)


def test_load_writes_each_block_of_a_range_and_nothing_else() -> None:
    blocks, page, layers = 12, 8, 3
    pages = np.zeros((layers, blocks, page), dtype=np.uint8)
    strips = [strip_of("l", pages[layer].ctypes.data, (blocks, page), (page, 1), 1, blocks) for layer in range(layers)]
    layout = Layout([GroupPages(strips, 4)], Chunking(64, 16, (16,)))
    assert layout.object_bytes == (4 * layers * page,)
    # Tokens 32 to 128: the second half of chunk 0, and chunk 1. The lease begins with chunk 0.
    table = [7, 2, 9, 4, 1, 11]
    content = np.random.default_rng(1).integers(1, 256, (2, 4, layers, page), dtype=np.uint8)
    pieces = layout.load_pieces(0, 32, [table])
    for row, offset, address, length in zip(
        pieces.object.tolist(), pieces.offset.tolist(), pieces.address.tolist(), pieces.length.tolist(), strict=True
    ):
        ctypes.memmove(address, content[row].ctypes.data + offset, length)
    for position, block in enumerate(table):
        chunk, place = divmod(position + 2, 4)
        assert (pages[:, block] == content[chunk, place]).all()
    untouched = sorted(set(range(blocks)) - set(table))
    assert not pages[:, untouched].any()


def test_block_zero_stands_for_one_that_is_not_needed() -> None:
    layout = Layout([GroupPages([Strip(4096, 8, 8)], 2)], Chunking(32, 16, (16,)))
    assert layout.load_pieces(0, 0, [[0, 5, 6, 0]]).address.tolist() == [4096 + 40, 4096 + 48]
    pieces, whole = layout.store_pieces(0, [0, 5, 6, 7], 2)
    assert whole.tolist() == [False, True]
    assert pieces.object.tolist() == [0, 0]
