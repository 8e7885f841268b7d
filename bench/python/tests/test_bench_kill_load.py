"""What the kill test knows without the node: header tables read from outside, and journals of acknowledgements."""

import struct
from pathlib import Path

import pytest
from kvasir_ops.arena_headers import COMMITTED, HEADER_BYTES, MAGIC, PREAMBLE_BYTES, committed_keys, occupied_keys

from kvasir_bench.kill_load import BATCH, ENTRY, SIZES, Names, acknowledged
from kvasir_bench.lost_objects import ANSWERS_KEPT, KEPT, Asked, DeadFiles, counters, describe
from kvasir_bench.places_log import BLOCK_BYTES, last_changes


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
    assert occupied_keys(tmp_path) == {keys[0], keys[1], keys[2]}


def test_a_retired_or_unfinished_table_has_nothing(tmp_path: Path) -> None:
    place = tmp_path / "tenants" / "someone"
    place.mkdir(parents=True)
    (place / "1.head").write_bytes(table([(COMMITTED, b"k" * 32, 0)], region_stamp=3))
    (place / "2.head").write_bytes(b"KVASIRH1")
    (place / "3.head").write_bytes(bytes(PREAMBLE_BYTES + HEADER_BYTES))
    assert committed_keys(tmp_path) == set()
    assert occupied_keys(tmp_path) == set()


def place(number: int) -> bytes:
    """The key of an object's place: namespace, key, shard."""
    return b"n" * 32 + number.to_bytes(32, "big") + b"s" * 16


def stored(number: int) -> bytes:
    """A change that stores a place."""
    return b"\1\x50" + place(number) + b"\x58" + b"v" * 88


def removed(number: int) -> bytes:
    """A change that removes a place."""
    return b"\0\x50" + place(number)


def log_of(*batches: bytes) -> bytes:
    """A RocksDB log: records in blocks, in pieces where a block ends."""
    data = bytearray()
    for changes in batches:
        rest = bytes(12) + changes
        first = True
        while rest or first:
            left = BLOCK_BYTES - len(data) % BLOCK_BYTES
            if left < 7:
                data += bytes(left)
                continue
            piece, rest = rest[: left - 7], rest[left - 7 :]
            kind = (1 if first else 4) if not rest else (2 if first else 3)
            data += struct.pack("<IHB", 0, len(piece), kind) + piece
            first = False
    return bytes(data)


def keys_of(*numbers: int) -> set[bytes]:
    return {number.to_bytes(32, "big") for number in numbers}


def removed_keys(places: Path) -> set[bytes]:
    return {key for key, is_removal in last_changes(places).items() if is_removal}


def test_the_last_change_of_a_place_says_whether_it_was_removed(tmp_path: Path) -> None:
    accounting = b"\1\x0aaccounting\x10" + bytes(16)
    (tmp_path / "000009.log").write_bytes(log_of(stored(1) + stored(2) + accounting, removed(1) + removed(2)))
    (tmp_path / "000010.log").write_bytes(log_of(stored(2) + accounting, stored(3) + removed(4)))
    assert removed_keys(tmp_path) == keys_of(1, 4)
    assert removed_keys(tmp_path / "none") == set()


def test_batches_that_go_over_blocks_are_read_whole(tmp_path: Path) -> None:
    batches = [b"".join(removed(number * 1000 + i) for i in range(number)) for number in range(1, 900, 50)]
    assert len(log_of(*batches)) > 10 * BLOCK_BYTES
    (tmp_path / "000001.log").write_bytes(log_of(*batches))
    assert removed_keys(tmp_path) == keys_of(*(n * 1000 + i for n in range(1, 900, 50) for i in range(n)))


def test_what_a_kill_tore_off_a_log_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "000001.log").write_bytes(log_of(removed(1), removed(2))[:-1])
    assert removed_keys(tmp_path) == keys_of(1)
    (tmp_path / "000001.log").write_bytes(log_of(removed(1)) + bytes(1 << 16))
    assert removed_keys(tmp_path) == keys_of(1)


def test_a_log_with_other_changes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "000001.log").write_bytes(log_of(b"\x07\x50" + place(1)))
    with pytest.raises(ValueError, match="kind 7"):
        removed_keys(tmp_path)


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


def extent(slots: list[tuple[int, int | None]], cut: int = 3) -> bytes:
    """An extent of slots of a page; each has the cut number of its header, and the key or none."""
    data = bytearray((1 + len(slots)) * 4096 + 4096 * -(-len(slots) * 256 // 4096))
    struct.pack_into("<II", data, 20, cut, 1)
    for slot, (of_cut, number) in enumerate(slots):
        if number is not None:
            at = 4096 + slot * 256
            struct.pack_into("<III", data, at + 4, 0x4856534B, of_cut, slot)
            data[at + 48 : at + 80] = number.to_bytes(32, "big")
    return bytes(data)


def test_a_dead_node_says_where_an_object_was(tmp_path: Path) -> None:
    places, extents = tmp_path / "places", tmp_path / "extents"
    places.mkdir()
    extents.mkdir()
    (places / "000001.log").write_bytes(log_of(stored(1) + stored(2), removed(2)))
    (extents / "00000001.extent").write_bytes(extent([(3, 1), (3, None), (2, 4), (3, 3)]))
    (extents / "00000002.extent").write_bytes(bytes(8192))
    (extents / "00000003.extent").write_bytes(b"short")
    dead = DeadFiles(places, extents)
    assert dead.removed() == keys_of(2)
    one, two, three, four = (number.to_bytes(32, "big") for number in (1, 2, 3, 4))
    assert dead.says(one) == {"log": "stored", "in_extents": True}
    assert dead.says(two) == {"log": "removed", "in_extents": False}
    assert dead.says(three) == {"log": "not named", "in_extents": True}
    assert dead.says(four) == {"log": "not named", "in_extents": False}


def test_what_is_kept_of_lost_objects_is_bounded(tmp_path: Path) -> None:
    asked = Asked()
    for number in range(100):
        asked.add(number / 10, f"PENDING {number}")
    lost = sorted(keys_of(*range(1, 100)))
    kept = describe(lost, lambda key: 4096, DeadFiles(tmp_path, tmp_path), {lost[0]: asked}, lambda key: "MISS SSD")
    assert len(kept) == KEPT
    assert (kept[0]["asked"], len(kept[0]["answers"]), kept[1]["asked"]) == (100, ANSWERS_KEPT, 0)
    assert (kept[0]["answers"][0], kept[0]["answers"][-1]) == ((0.0, "PENDING 0"), (9.9, "PENDING 99"))
    assert (kept[0]["peek"], kept[0]["size"], kept[0]["log"]) == ("MISS SSD", 4096, "not named")


def test_counters_that_a_node_does_not_have_are_left_out() -> None:
    assert counters(lambda name: 3.0 if "no_room" in name else None) == {"no_room": 3.0}
