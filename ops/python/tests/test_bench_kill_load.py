"""What the kill test knows without the node: header tables read from outside, and journals of acknowledgements."""

import struct
from pathlib import Path

from kvasir_ops.arena_headers import COMMITTED, HEADER_BYTES, MAGIC, PREAMBLE_BYTES, committed_keys
from kvasir_ops.bench.kill_load import BATCH, ENTRY, SIZES, Names, acknowledged


def table(slots: list[tuple[int, bytes, int]], region_stamp: int = 2) -> bytes:
    """A header file; each slot is (state, key, expiry)."""
    data = bytearray(PREAMBLE_BYTES + len(slots) * HEADER_BYTES)
    struct.pack_into("<8sIIII", data, 0, MAGIC, 1, HEADER_BYTES, 7, len(slots))
    struct.pack_into("<Q", data, 64, region_stamp)
    for index, (state, key, expiry) in enumerate(slots):
        at = PREAMBLE_BYTES + index * HEADER_BYTES
        struct.pack_into("<Q", data, at, (2 << 8) | state)
        data[at + 64 : at + 96] = key
        struct.pack_into("<Q", data, at + 152, expiry)
    return bytes(data)


def test_only_committed_slots_without_expiry_count(tmp_path: Path) -> None:
    place = tmp_path / "tenants" / "someone"
    place.mkdir(parents=True)
    keys = [bytes([index]) * 32 for index in range(4)]
    slots = [(COMMITTED, keys[0], 0), (1, keys[1], 0), (COMMITTED, keys[2], 99), (0, keys[3], 0)]
    (place / "00000007.head").write_bytes(table(slots))
    assert committed_keys(tmp_path) == {keys[0]}


def test_a_retired_or_unfinished_table_has_nothing(tmp_path: Path) -> None:
    place = tmp_path / "tenants" / "someone"
    place.mkdir(parents=True)
    (place / "1.head").write_bytes(table([(COMMITTED, b"k" * 32, 0)], region_stamp=3))
    (place / "2.head").write_bytes(b"KVASIRH1")
    (place / "3.head").write_bytes(bytes(PREAMBLE_BYTES + HEADER_BYTES))
    assert committed_keys(tmp_path) == set()


def test_a_journal_that_ends_inside_an_entry_gives_the_whole_ones(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal.write_bytes(ENTRY.pack(1.5, 3) + ENTRY.pack(2.5, 4) + b"torn")
    assert acknowledged(journal) == [(1.5, 3), (2.5, 4)]
    assert acknowledged(tmp_path / "none") == []


def test_a_batch_has_one_size_and_sizes_take_turns() -> None:
    assert {Names.size(number) for number in range(BATCH)} == {SIZES[0]}
    assert [Names.size(batch * BATCH) for batch in range(5)] == [*SIZES, SIZES[0]]


def test_keys_differ_between_runs_workers_and_numbers() -> None:
    keys = {Names(run, worker).key(number) for run in (1, 2) for worker in (0, 1) for number in (0, 1)}
    assert len(keys) == 8
    assert Names(1, 0).key(5) == Names(1, 0).key(5)
