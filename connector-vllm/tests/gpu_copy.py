"""Copies between a GPU and a region file, checked and timed; needs torch with CUDA, and neither vLLM nor a node.

    PYTHONPATH=client/src:client/tests:connector-vllm/src python connector-vllm/tests/gpu_copy.py

Writes a region as a node lays it out, in /dev/shm; loads from it into GPU pages and stores pages into it through the
client's own checked copies, in both directions at once and beside a busy compute stream; compares every byte; prints
GB/s beside a plain pinned copy of the same run. Exit status 0 when every byte was right.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kvasir_vllm.shared.chunks import Chunking
from kvasir_vllm.worker.layout import GroupPages, Layout, strip_of

BLOCK_TOKENS, CHUNK_TOKENS, LAYERS = 16, 256, 32
PAGE_BYTES = 64 << 10
BLOCKS = 1024
CHUNKS = 32


def _crc32c(data: Any) -> int:
    """Only for the preamble of the region: where google-crc32c is not installed."""
    value = 0xFFFFFFFF
    for byte in bytes(data):
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def _region(place: Path, slot_bytes: int) -> Any:
    try:
        import google_crc32c  # noqa: F401
    except ImportError:
        stand_in: Any = types.ModuleType("google_crc32c")
        stand_in.value = _crc32c
        sys.modules["google_crc32c"] = stand_in
    from regionfiles import RegionFiles

    return RegionFiles(place, slots=2 * CHUNKS, slot_bytes=slot_bytes)


def main() -> int:
    """Runs everything; see the module."""
    from kvasir import Deadline
    from kvasir._copy import load, store
    from kvasir.cuda import CudaCopier
    from kvasir.records import pack_slots, slot_array
    from kvasir.regions import RegionMap

    device = torch.device("cuda", 0)
    print(f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}, Python {sys.version.split()[0]}")
    # As vLLM has it: for each layer (blocks, ...) of opaque pages.
    caches = [torch.zeros((BLOCKS, PAGE_BYTES), dtype=torch.uint8, device=device) for _ in range(LAYERS)]
    strips = [
        strip_of(f"layer {index}", cache.data_ptr(), cache.shape, cache.stride(), 1, BLOCKS)
        for index, cache in enumerate(caches)
    ]
    chunking = Chunking(CHUNK_TOKENS, BLOCK_TOKENS, (BLOCK_TOKENS,))
    layout = Layout([GroupPages(strips, chunking.blocks_in_chunk(0))], chunking)
    slot_bytes = layout.object_bytes[0]
    print(f"{CHUNKS} objects of {slot_bytes >> 20} MiB; {LAYERS} layers, pages of {PAGE_BYTES >> 10} KiB")
    failures: list[str] = []

    def check(what: str, right: bool) -> None:
        print(f"  {'ok   ' if right else 'WRONG'} {what}")
        if not right:
            failures.append(what)

    with tempfile.TemporaryDirectory(prefix="kvasir-gpu-", dir="/dev/shm") as folder:
        files = _region(Path(folder), slot_bytes)
        content = np.random.default_rng(1).integers(0, 256, (CHUNKS, slot_bytes), dtype=np.uint8)
        hits, grants = [], []
        for slot in range(CHUNKS):
            files.data[slot * slot_bytes : (slot + 1) * slot_bytes] = content[slot]
            files.word(4096 + slot * 256, 2 << 8 | 2)
            record = {"tier": 2, "region": 1, "slot": slot, "stamp": 2 << 8 | 2, "length": slot_bytes}
            hits.append({"status": 1} | record)
            grants.append({"status": 5} | files.reserve(CHUNKS + slot, slot_bytes))
        regions = RegionMap(Path(folder), lambda: None)
        regions.add([files.described()])
        slots = slot_array(pack_slots(hits)), slot_array(pack_slots(grants))
        copier = CudaCopier(0)
        order = np.random.default_rng(2).permutation(np.arange(1, BLOCKS))
        count = CHUNKS * CHUNK_TOKENS // BLOCK_TOKENS
        table = order[:count].tolist()
        pieces = layout.load_pieces(0, 0, [table])
        no = lambda: False  # noqa: E731

        def load_all(deadline: float = 30.0) -> Any:
            copier.after(copier.mark())
            return load(regions, slots[0], pieces, Deadline.after(deadline), copier, no, None)

        def store_all() -> Any:
            copier.after(copier.mark())
            taken, _ = layout.store_pieces(0, table, CHUNKS)
            return store(regions, slots[1], taken, Deadline.after(30), copier, no, None, np.zeros(CHUNKS, np.uint32))

        # ---- right bytes
        check("every object arrives", bool(load_all().all()))
        expected = content.reshape(count, LAYERS, PAGE_BYTES)
        index = torch.tensor(table, device=device)
        right = all(
            torch.equal(cache[index].cpu(), torch.from_numpy(expected[:, layer].copy()))
            for layer, cache in enumerate(caches)
        )
        check("GPU pages have the objects' bytes", right)
        spare = torch.tensor(order[count:].tolist(), device=device)
        check("other blocks are untouched", not any(bool(cache[spare].any()) for cache in caches))
        check("every object is stored", bool(store_all().all()))
        stored = files.data.reshape(-1, slot_bytes)[CHUNKS : 2 * CHUNKS]
        check("stored objects have the pages' bytes", bool((stored == content).all()))

        # ---- a store sees what the compute stream has written before the mark, and not less
        work = torch.randn((4096, 4096), device=device)
        for _ in range(20):
            work = work @ work / 4096
        for cache in caches:
            cache[index] = 7
        began = time.monotonic()
        event = copier.mark()
        submitted = time.monotonic() - began
        copier.after(event)
        taken, _ = layout.store_pieces(0, table, CHUNKS)
        store(regions, slots[1], taken, Deadline.after(30), copier, no, None, np.zeros(CHUNKS, np.uint32))
        check("a store waits for the engine's stream", bool((stored == 7).all()))
        check(f"marking a stream does not wait for it ({submitted * 1e6:.0f} us)", submitted < 0.01)

        # ---- faults
        check("a deadline that has passed loads nothing", not load_all(-1.0).any())
        files.word(4096, 4 << 8 | 2)
        loaded = load_all()
        check("an object of another generation is a miss, and only it", not loaded[0] and bool(loaded[1:].all()))
        files.word(4096, 2 << 8 | 2)

        # ---- speed
        total = CHUNKS * slot_bytes

        def best(call: Any) -> float:
            times = []
            for _ in range(5):
                torch.cuda.synchronize()
                start = time.monotonic()
                call()
                torch.cuda.synchronize()
                times.append(time.monotonic() - start)
            return total / min(times) / 1e9

        pinned = torch.empty(total, dtype=torch.uint8, pin_memory=True)
        flat = torch.empty(total, dtype=torch.uint8, device=device)
        limit_in = best(lambda: flat.copy_(pinned, non_blocking=True))
        limit_out = best(lambda: pinned.copy_(flat, non_blocking=True))
        into, out = best(load_all), best(store_all)
        print(f"load  {into:6.1f} GB/s of {limit_in:5.1f} of one pinned copy, ratio {into / limit_in:.2f}")
        print(f"store {out:6.1f} GB/s of {limit_out:5.1f} of one pinned copy, ratio {out / limit_out:.2f}")

        # ---- beside computing: how much slower are the engine's kernels while copies run
        def compute(rounds: int = 60) -> float:
            torch.cuda.synchronize()
            start = time.monotonic()
            x = work
            for _ in range(rounds):
                x = x @ x / 4096
            torch.cuda.synchronize(device) if rounds < 0 else torch.cuda.current_stream().synchronize()
            return time.monotonic() - start

        compute()
        alone = min(compute() for _ in range(3))
        stop = threading.Event()

        def both_ways() -> None:
            while not stop.is_set():
                load_all()
                store_all()

        thread = threading.Thread(target=both_ways)
        thread.start()
        beside = min(compute() for _ in range(3))
        stop.set()
        thread.join()
        print(f"computing takes {beside / alone:.2f} times as long beside loads and stores")
        copier.close()
        regions.close()
    print("every byte was right" if not failures else f"WRONG: {failures}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
