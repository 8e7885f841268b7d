from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from regionfiles import RegionFiles

from kvasir import Deadline, InvalidArgumentError, Pieces, ProtocolViolationError, RegionError, SlotStatus, _copy
from kvasir.pieces import pieces_of
from kvasir.records import BoolArray, SlotArray, pack_slots, slot_array
from kvasir.regions import RegionMap


def never() -> bool:
    return False


class Bench:
    """Regions of one directory, mapped, and the two copies on them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.closed = 0
        self.regions = RegionMap(directory, self._on_closed)
        self.copier = _copy.Copier()

    def _on_closed(self) -> None:
        self.closed += 1

    def load(self, records: list[dict[str, int]], places: Any, **options: Any) -> BoolArray:
        return _copy.load(
            self.regions,
            slot_array(pack_slots(records)),
            pieces_of(places, write=True),
            options.get("deadline", Deadline.after(30)),
            options.get("copier", self.copier),
            options.get("stopped", never),
            google_crc32c.value if options.get("verify") else None,
        )

    def store(self, records: list[dict[str, int]], places: Any, sums: Any = None) -> BoolArray:
        return _copy.store(
            self.regions,
            slot_array(pack_slots(records)),
            pieces_of(places, write=False),
            Deadline.after(30),
            self.copier,
            never,
            google_crc32c.value if sums is not None else None,
            sums if sums is not None else np.zeros(len(records), "<u4"),
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def random_bytes(count: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(count)


def test_loads_what_the_records_name_from_several_regions(bench: Bench, tmp_path: Path) -> None:
    files = [RegionFiles(tmp_path, 1), RegionFiles(tmp_path, 7, 4, 8192)]
    bench.regions.add(f.described() for f in files)
    payloads = [random_bytes(4096, 1), random_bytes(8192, 2), random_bytes(100, 3)]
    records = [files[0].put(3, payloads[0]), files[1].put(0, payloads[1]), files[0].put(7, payloads[2])]
    places = [bytearray(len(p)) for p in payloads]
    assert bench.load(records, places, verify=True).all()
    assert places == [bytearray(p) for p in payloads]


@pytest.mark.parametrize("threads", [1, 3])
def test_scatters_parts_of_objects(bench: Bench, tmp_path: Path, threads: int) -> None:
    files = RegionFiles(tmp_path)
    bench.regions.add([files.described()])
    payload = random_bytes(4096)
    records = [files.put(2, payload), files.put(1, payload[::-1])]
    target = np.zeros(8192, np.uint8)
    base = target.ctypes.data
    copier = _copy.Copier(threads)
    places = [[(1024, base, 512), (0, base + 4096, 256)], [(4000, base + 512, 96)]]
    assert bench.load(records, places, copier=copier).all()
    copier.close()
    assert target[:512].tobytes() == payload[1024:1536]
    assert target[4096:4352].tobytes() == payload[:256]
    assert target[512:608].tobytes() == payload[::-1][4000:]
    assert not target[608:4096].any()


def test_a_stale_stamp_is_a_miss_and_nothing_is_written(bench: Bench, tmp_path: Path) -> None:
    files = RegionFiles(tmp_path)
    bench.regions.add([files.described()])
    records = [files.put(0, random_bytes(64, 1)), files.put(1, random_bytes(64, 2))]
    files.put(0, random_bytes(64, 3), generation=4)
    places = np.zeros((2, 64), np.uint8)
    assert bench.load(records, places).tolist() == [False, True]
    assert not places[0].any()


def test_an_object_overwritten_during_the_copy_is_a_miss(bench: Bench, tmp_path: Path) -> None:
    files = RegionFiles(tmp_path)
    bench.regions.add([files.described()])
    records = [files.put(0, random_bytes(64, 1)), files.put(1, random_bytes(64, 2))]

    class Overwriting(_copy.Copier):
        def run(self, *arguments: Any) -> BoolArray:
            complete = super().run(*arguments)
            files.put(1, random_bytes(64, 4), generation=8)
            return complete

    assert bench.load(records, np.zeros((2, 64), np.uint8), copier=Overwriting()).tolist() == [True, False]


def test_a_region_retired_during_the_copy_makes_misses(bench: Bench, tmp_path: Path) -> None:
    files = RegionFiles(tmp_path)
    bench.regions.add([files.described()])
    records = [files.put(0, random_bytes(64, 1))]

    class Retiring(_copy.Copier):
        def run(self, *arguments: Any) -> BoolArray:
            files.retire()
            return super().run(*arguments)

    assert not bench.load(records, np.zeros((1, 64), np.uint8), copier=Retiring()).any()


def test_a_wrong_checksum_is_a_miss_when_verified(bench: Bench, tmp_path: Path) -> None:
    files = RegionFiles(tmp_path)
    bench.regions.add([files.described()])
    records = [files.put(0, random_bytes(64, 1)), files.put(1, random_bytes(64, 2)), files.put(2, b"x", summed=False)]
    files.data[0] ^= 1
    places = [bytearray(64), bytearray(64), bytearray(1)]
    assert bench.load(records, places, verify=True).tolist() == [False, True, True]


def test_retired_regions_are_unmapped_with_the_next_answer(bench: Bench, tmp_path: Path) -> None:
    first, second = RegionFiles(tmp_path, 1), RegionFiles(tmp_path, 2)
    bench.regions.add([first.described()])
    record = first.put(0, b"abc")
    first.retire()
    bench.regions.add([second.described()])
    assert len(bench.regions) == 1
    assert not bench.load([record], [bytearray(3)]).any()


def test_a_copy_past_its_deadline_has_stopped_and_loads_nothing(bench: Bench, tmp_path: Path) -> None:
    files = RegionFiles(tmp_path, slots=1, slot_bytes=64 << 20)
    bench.regions.add([files.described()])
    record = files.put(0, b"\1" * (64 << 20))
    target = np.zeros((1, 64 << 20), np.uint8)
    assert not bench.load([record], target, deadline=Deadline.after(-1)).any()
    assert not target.any()
    looks = iter([False, False, True])
    assert not bench.load([record], target, stopped=lambda: next(looks)).any()
    copied = int(np.count_nonzero(target))
    assert copied == 2 * _copy.SLICE_BYTES


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: os.truncate(f.data_path, f.slots * f.slot_bytes - 1), "truncated"),
        (lambda f: os.truncate(f.header_path, 4096), "truncated"),
        (lambda f: f.word(0, 1), "expected"),
        (lambda f: f.word(40, 1), "checksum"),
        (lambda f: f.data_path.unlink(), "cannot be mapped"),
    ],
)
def test_refuses_files_that_are_not_as_described(
    bench: Bench, tmp_path: Path, change: Callable[[RegionFiles], None], says: str
) -> None:
    files = RegionFiles(tmp_path)
    change(files)
    with pytest.raises(RegionError, match=says):
        bench.regions.add([files.described()])


def test_refuses_slots_outside_their_region(bench: Bench, tmp_path: Path) -> None:
    files = RegionFiles(tmp_path)
    bench.regions.add([files.described()])
    record = files.put(0, b"abc")
    for wrong in ({"slot": 8}, {"length": 4097}):
        with pytest.raises(ProtocolViolationError, match="outside"):
            bench.load([record | wrong], [bytearray(3)])


def test_refuses_places_outside_their_object(bench: Bench, tmp_path: Path) -> None:
    files = RegionFiles(tmp_path)
    bench.regions.add([files.described()])
    record = files.put(0, b"abc")
    with pytest.raises(InvalidArgumentError, match="object has 3"):
        bench.load([record], [bytearray(4)])
    with pytest.raises(InvalidArgumentError, match="read-only"):
        bench.load([record], [b"abc"])
    with pytest.raises(InvalidArgumentError, match="there are 1"):
        bench.load([record], [bytearray(3), bytearray(3)])


def test_stores_into_reserved_slots_only_while_they_are_ours(bench: Bench, tmp_path: Path) -> None:
    files = RegionFiles(tmp_path)
    bench.regions.add([files.described()])
    payloads = [random_bytes(4096, n) for n in range(2)]
    records = [files.reserve(0, 4096), files.reserve(5, 4096)]
    files.reserve(5, 4096, generation=9)
    sums = np.zeros(2, "<u4")
    assert bench.store(records, payloads, sums).tolist() == [True, False]
    assert files.data[:4096].tobytes() == payloads[0]
    assert not files.data[5 * 4096 : 6 * 4096].any()
    assert sums[0] == google_crc32c.value(payloads[0])


def test_closing_waits_for_running_copies_before_it_unmaps(bench: Bench, tmp_path: Path) -> None:
    files = RegionFiles(tmp_path)
    bench.regions.add([files.described()])
    record = files.put(0, random_bytes(4096))
    inside, go_on = threading.Event(), threading.Event()

    class Waiting(_copy.Copier):
        def run(self, *arguments: Any) -> BoolArray:
            inside.set()
            assert go_on.wait(10)
            return super().run(*arguments)

    target = np.zeros((1, 4096), np.uint8)
    results: list[BoolArray] = []
    thread = threading.Thread(target=lambda: results.append(bench.load([record], target, copier=Waiting())))
    thread.start()
    assert inside.wait(10)
    bench.regions.close()
    assert bench.closed == 0
    go_on.set()
    thread.join(10)
    assert bench.closed == 1
    assert results[0].all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.sampled_from(SlotStatus))))
def test_records_survive_packing(rows: list[tuple[int, int, SlotStatus]]) -> None:
    packed = pack_slots(
        {"status": s, "tier": 3, "region": n, "slot": n ^ 1, "stamp": w, "length": w // 2} for w, n, s in rows
    )
    array: SlotArray = slot_array(packed, len(rows))
    assert array.tobytes() == packed
    for row, (word, number, status) in zip(array, rows, strict=True):
        assert (row["stamp"], row["region"], row["status"], row["length"]) == (word, number, status, word // 2)
        assert bytes(row.tobytes()[2:4] + row.tobytes()[12:16]) == bytes(6)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_pieces_that_cover_objects_give_their_lengths(data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=5), min_size=1, max_size=5))
    rows = []
    for index, lengths in enumerate(cuts):
        offset = 0
        for length in lengths:
            rows.append((index, offset, 1000, length))
            offset += length
    rows = data.draw(st.permutations(rows))
    pieces = Pieces(*(np.array(column) for column in zip(*rows, strict=True)))
    assert pieces.whole_objects(len(cuts)).tolist() == [sum(lengths) for lengths in cuts]
    spoiled = data.draw(st.integers(0, len(rows) - 1))
    index, offset, address, length = rows[spoiled]
    rows[spoiled] = (index, offset + 1, address, length)
    with pytest.raises(InvalidArgumentError):
        Pieces(*(np.array(column) for column in zip(*rows, strict=True))).whole_objects(len(cuts))
