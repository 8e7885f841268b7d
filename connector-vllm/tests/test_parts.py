"""What the connector is made of and needs no engine: options, chunks, pages, speed."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest

from kvasir_vllm.chunks import Chunking, chunk_tokens_of, key_of
from kvasir_vllm.computed import Chunks, ComputedChunks, first_run
from kvasir_vllm.errors import ConfigurationError, UnsupportedError
from kvasir_vllm.handoff import Handoff
from kvasir_vllm.layout import GroupPages, Layout, Strip, merged, strip_of
from kvasir_vllm.options import Options
from kvasir_vllm.prefill import PrefillSpeed


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


# ------------------------------------------------------------------------------------------------ options


def test_option_that_is_misspelt_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r"lookup_timout.*did you mean 'lookup_timeout'"):
        Options.of({"lookup_timout": 1.0})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("lookup_timeout", "1s", "must be a float"),
        ("chunk_tokens", True, "must be a int"),
        ("store_timeout", 0, "more than 0 seconds"),
        ("max_pinned_share", 1.5, "above 0, to 1"),
        ("chunk_tokens", -1, "must not be negative"),
    ],
)
def test_bad_value_is_refused(name: str, value: object, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Options.of({name: value})


def test_whole_number_of_seconds_is_a_duration() -> None:
    assert Options.of({"lookup_timeout": 2}).lookup_timeout == 2.0


def test_socket_of_the_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVASIR_SOCKET", "/somewhere/engine.sock")
    assert Options.of({}).socket == "/somewhere/engine.sock"


# ------------------------------------------------------------------------------------------------ chunks


@pytest.mark.parametrize(("block", "chunk"), [(16, 256), (32, 256), (96, 288), (128, 256), (256, 256), (1024, 1024)])
def test_chunk_is_the_smallest_multiple_of_the_block_with_256_tokens(block: int, chunk: int) -> None:
    assert chunk_tokens_of(block, 0) == chunk


def test_chunk_may_be_one_block_and_nothing_between_two() -> None:
    assert chunk_tokens_of(16, 16) == 16
    with pytest.raises(ConfigurationError, match="multiple of the engine's block of 16"):
        chunk_tokens_of(16, 24)


def test_key_of_a_chunk_is_the_hash_of_its_last_block() -> None:
    hashes = [bytes([number]) * 32 for number in range(10)]
    chunking = Chunking(64, 16, (16,))
    assert chunking.whole_chunks(hashes) == 2
    assert chunking.keys(hashes, 0, 2) == hashes[3] + hashes[7]
    assert chunking.parents(hashes, 0, 2) == bytes(32) + hashes[3]
    assert chunking.parents(hashes, 1, 2) == hashes[3]


def test_hash_of_another_length_becomes_a_key_of_32_bytes() -> None:
    assert key_of(b"a" * 32) == b"a" * 32
    assert len(key_of(b"a" * 16)) == 32
    assert key_of(b"a" * 16) != key_of(b"b" * 16)


# ------------------------------------------------------------------------------------------------ pages


def test_pages_that_follow_each_other_in_a_block_are_one_copy() -> None:
    interleaved = [Strip(1000 + layer * 64, 256, 64) for layer in range(4)]
    assert merged(interleaved) == (Strip(1000, 256, 256),)
    apart = [Strip(1000 + layer * 4096, 64, 64) for layer in range(4)]
    assert merged(apart) == tuple(apart)


def test_layers_that_follow_each_other_in_memory_are_not_one_page() -> None:
    # The second layer begins where the first one's page of block 0 ends, and strides over the same blocks.
    assert merged([Strip(1000, 64, 64), Strip(1064, 64, 64)]) == (Strip(1000, 64, 64), Strip(1064, 64, 64))


def test_block_that_is_spread_over_memory_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="is spread over"):
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


# ------------------------------------------------------------------------------------------------ speed


def test_prefill_speed_is_that_of_steps_with_many_tokens_of_prompts() -> None:
    clock = Clock()
    speed = PrefillSpeed(clock)
    for prefill, decode, seconds in [(512, 0, 0.5), (4, 0, 0.1), (0, 200, 0.1), (130, 200, 0.1)]:
        number = speed.scheduled(prefill, decode)
        clock.now += seconds
        speed.ended(number)
        assert speed.tokens_per_s == pytest.approx(1024)


def test_prefill_speed_is_measured_between_outputs_when_steps_overlap() -> None:
    clock = Clock()
    speed = PrefillSpeed(clock)
    # Three are scheduled at once; each runs for 0.5 s, one after the other.
    flying = [speed.scheduled(512, 0) for _ in range(3)]
    for number in flying:
        clock.now += 0.5
        speed.ended(number)
        assert speed.tokens_per_s == pytest.approx(1024)
    # After a pause, a step begins when it is scheduled.
    clock.now += 3.0
    number = speed.scheduled(512, 0)
    clock.now += 0.5
    speed.ended(number)
    assert speed.tokens_per_s == pytest.approx(1024)


def test_step_without_an_output_does_not_stay() -> None:
    clock = Clock()
    speed = PrefillSpeed(clock)
    assert speed.scheduled(0, 0) == 0
    speed.ended(0)
    for _ in range(1000):
        number = speed.scheduled(512, 0)
    assert len(speed._steps) <= 64
    clock.now += 0.5
    speed.ended(number)
    assert not speed._steps


# ------------------------------------------------------------------------------------------------ what was computed


def chunks(*numbers: int, lora: str = "") -> Chunks:
    return Chunks(lora, b"".join(bytes([number]) * 32 for number in numbers))


def test_chunk_is_missing_until_the_node_was_given_it_in_this_session() -> None:
    known = ComputedChunks(clock=Clock())
    known.computed(chunks(1, 2, 3))
    assert known.missing(chunks(1, 2, 3, 4), 7) == [0, 1, 2]
    known.given(chunks(1, 3), 7)
    assert known.missing(chunks(1, 2, 3, 4), 7) == [1]
    assert known.missing(chunks(1, 2, 3, 4), 8) == [0, 1, 2]
    assert known.missing(chunks(1, 2, 3, lora="adapter"), 8) == []
    known.forget()
    assert known.missing(chunks(1, 2, 3), 8) == []


def test_chunk_that_was_refused_is_due_again_after_a_pause_that_doubles() -> None:
    clock = Clock()
    known = ComputedChunks(clock=clock)
    for pause in (1.0, 2.0, 4.0):
        known.given(chunks(1), 7)
        known.refused(chunks(1), 7)
        clock.now += pause - 0.1
        assert known.missing(chunks(1), 7) == []
        clock.now += 0.2
        assert known.missing(chunks(1), 7) == [0]
    known.given(chunks(1), 7)
    known.refused(chunks(1), 7)
    # Another session has nothing to do with what failed in this one; nor has a late report.
    assert known.missing(chunks(1), 8) == [0]
    known.given(chunks(1), 8)
    known.refused(chunks(1), 7)
    assert known.missing(chunks(1), 8) == []


def test_computed_chunks_that_were_not_used_for_long_are_forgotten() -> None:
    known = ComputedChunks(most=3, clock=Clock())
    known.computed(chunks(1, 2, 3))
    assert known.missing(chunks(1), 7) == [0]
    known.computed(chunks(4))
    assert len(known) == 3
    assert known.missing(chunks(1, 2, 3, 4), 7) == [0, 2, 3]


def test_first_run_of_indexes() -> None:
    assert [first_run(indexes) for indexes in ([], [4], [4, 5, 6], [4, 5, 7, 8], [4, 6])] == [0, 1, 3, 2, 1]


# ------------------------------------------------------------------------------------------------ handed-off prompts


def handed(tokens: list[int], hashes: list[bytes], **more: object) -> SimpleNamespace:
    return SimpleNamespace(prompt_token_ids=tokens, num_prompt_tokens=len(tokens), block_hashes=hashes, **more)


def test_key_of_a_tail_is_bound_to_the_request_and_to_its_tokens() -> None:
    chunking = Chunking(32, 16, (16,))
    hashes = [bytes([number]) * 32 for number in range(4)]
    tokens = list(range(70))
    tail = Handoff("0" * 32, "").tail(handed(tokens, hashes), chunking)
    assert tail is not None
    assert (tail.begin, tail.end) == (64, 70)
    others = [
        Handoff("1" * 32, "").tail(handed(tokens, hashes), chunking),
        Handoff("0" * 32, "").tail(handed([*tokens[:-1], 5], hashes), chunking),
        Handoff("0" * 32, "").tail(handed(tokens, [*hashes[:3], bytes(32)]), chunking),
        Handoff("0" * 32, "").tail(handed(tokens[:69], hashes), chunking),
    ]
    assert len({tail.key, *(other.key for other in others if other)}) == 5
    assert Handoff("0" * 32, "elsewhere").tail(handed(tokens, hashes), chunking) == tail


def test_what_has_no_tail_to_hand_off() -> None:
    chunking = Chunking(32, 16, (16,))
    hashes = [bytes([number]) * 32 for number in range(4)]
    handoff = Handoff("0" * 32, "")
    assert handoff.tail(handed(list(range(64)), hashes), chunking) is None
    assert handoff.tail(handed(list(range(70)), hashes, prompt_embeds=object()), chunking) is None
    image = SimpleNamespace(mm_position=SimpleNamespace(offset=60, length=6))
    assert handoff.tail(handed(list(range(70)), hashes, mm_features=[image]), chunking) is None


@pytest.mark.parametrize(
    "given", [{"kvasir_handoff_id": "short"}, {"kvasir_handoff_node": "b"}, {"do_remote_prefill": True}, None]
)
def test_other_parameters_are_no_handoff(given: object) -> None:
    assert Handoff.of(SimpleNamespace(kv_transfer_params=given)) is None
