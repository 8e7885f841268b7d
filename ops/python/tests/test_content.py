"""The demo's content: every process makes the same bytes, and whatever is not them is counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvasir_ops.replay.content import Content
from kvasir_ops.replay.trace import key_of

SIZE = 4096


def written(chunk: int, size: int = SIZE) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    page = np.empty(size, dtype=np.uint8)
    Content(size).write(key_of(chunk), page)
    return page


def test_two_makers_agree() -> None:
    assert (written(7) == written(7)).all()
    assert Content(SIZE).wrong_bytes(key_of(7), written(7)) == 0


@given(st.integers(0, 2**63), st.integers(0, SIZE - 1), st.integers(1, 255))
def test_one_changed_byte_is_one_wrong_byte(chunk: int, place: int, change: int) -> None:
    page = written(chunk)
    page[place] ^= change
    assert Content(SIZE).wrong_bytes(key_of(chunk), page) == 1


@given(st.integers(0, 2**63), st.integers(0, 2**63))
def test_bytes_of_another_key_are_wrong_nearly_everywhere(one: int, other: int) -> None:
    if one != other:
        assert Content(SIZE).wrong_bytes(key_of(one), written(other)) > SIZE * 0.9


def test_torn_and_shifted_objects_are_wrong() -> None:
    torn = written(1)
    torn[SIZE // 2 :] = written(2)[SIZE // 2 :]
    assert Content(SIZE).wrong_bytes(key_of(1), torn) > SIZE * 0.4
    for shift in (1, 8, 64):
        assert Content(SIZE).wrong_bytes(key_of(1), np.roll(written(1), shift)) > SIZE * 0.9


def test_zeros_are_wrong() -> None:
    assert Content(SIZE).wrong_bytes(key_of(1), np.zeros(SIZE, dtype=np.uint8)) > SIZE * 0.9


@pytest.mark.parametrize("size", [0, -8, 12])
def test_size_must_be_a_multiple_of_a_word(size: int) -> None:
    with pytest.raises(ValueError, match=str(size)):
        Content(size)
