"""Which chunks the node is still to be given."""

from __future__ import annotations

from clock import Clock

from kvasir_vllm.scheduler.computed import Chunks, ComputedChunks, first_run


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
