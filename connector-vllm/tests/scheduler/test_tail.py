"""The end of a prompt that is handed off: its key, and what has none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kvasir_vllm.scheduler.handoff import Handoff
from kvasir_vllm.shared.chunks import Chunking


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
