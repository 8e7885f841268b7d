"""Runs in SGLang's environment: real host pools, Kvasir's and SGLang's own backends from SGLang's factory, in turn.

The argument is a JSON object (see :mod:`kvasir_bench.sglang.suite`); lines of JSON on standard output say where it
is, and what was found: for each job and system one median of seconds for each run.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed
from kvasir._memory import copy
from kvasir_sglang.shared.identity import pack
from sglang.srt.mem_cache.hicache_storage import HiCacheStorageConfig
from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool
from sglang.srt.mem_cache.pool_host.mha import MHATokenToKVPoolHost
from sglang.srt.mem_cache.storage import StorageBackendFactory
from sglang.srt.runtime_context import get_parallel

from kvasir_bench.control import EchoClient
from kvasir_bench.peers.drivers import mooncake_driver
from kvasir_bench.peers.drivers.protocol import free_port, wait_until

PAGE = 64
PAGES = 128
STORED = {"1m": 256, "64k": 1024}
GEOMETRY = {
    "1m": {"layer_num": 8, "head_num": 8, "head_dim": 64},
    "64k": {"layer_num": 4, "head_num": 2, "head_dim": 32},
}
CALLS = {"1m": 15, "64k": 60}
ASKED = 512
BURSTS = 10
#: As the suite starts the node; a size of pages has at most all of it.
DRAM_BYTES = 1 << 30
#: A busy machine is to show in the figures, not in misses.
DEADLINES = {"exists_deadline_ms": 10_000, "load_deadline_ms": 30_000, "store_deadline_ms": 30_000}
BURST = 40

_answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def say(text: str) -> None:
    """Tells the suite where this is."""
    print(json.dumps({"say": text}), file=_answers, flush=True)


class Backend(Protocol):
    """What SGLang's controller does to move pages between a backend and a host pool."""

    storage: Any

    def get(self, keys: list[str], indices: Any) -> None:
        """Loads pages; all of them have to be there."""

    def set(self, keys: list[str], indices: Any) -> None:
        """Stores pages."""

    def exists(self, keys: list[str]) -> int:
        """How many leading pages there are."""

    def close(self) -> None:
        """Ends it."""


class ZeroCopy:
    """A backend with the v1 calls."""

    def __init__(self, storage: Any, pool: Any) -> None:
        self.storage = storage
        storage.register_mem_pool_host(pool)

    def get(self, keys: list[str], indices: Any) -> None:
        """As ``HiCacheController._page_get_zero_copy``."""
        assert all(self.storage.batch_get_v1(keys, indices)), "a page was not loaded"

    def set(self, keys: list[str], indices: Any) -> None:
        """As ``HiCacheController._page_set_zero_copy``."""
        assert all(self.storage.batch_set_v1(keys, indices)), "a page was not stored"

    def exists(self, keys: list[str]) -> int:
        """As the controller asks."""
        return int(self.storage.batch_exists(keys))

    def close(self) -> None:
        """Ends it."""
        if hasattr(self.storage, "close"):
            self.storage.close()


class Generic:
    """A backend with the generic calls; flat pages go into the pool and out of it, as in the controller."""

    def __init__(self, storage: Any, pool: Any) -> None:
        self.storage, self._pool = storage, pool
        storage.register_mem_pool_host(pool)

    def get(self, keys: list[str], indices: Any) -> None:
        """As ``HiCacheController._generic_page_get``."""
        flat = [self._pool.get_dummy_flat_data_page() for _ in keys]
        for row, page in enumerate(self.storage.batch_get(keys, flat)):
            assert page is not None, "a page was not loaded"
            self._pool.set_from_flat_data_page(indices[row * PAGE], page)

    def set(self, keys: list[str], indices: Any) -> None:
        """As ``HiCacheController._generic_page_set``."""
        flat = [self._pool.get_data_page(indices[row * PAGE]) for row in range(len(keys))]
        assert self.storage.batch_set(keys, flat), "a page was not stored"

    def exists(self, keys: list[str]) -> int:
        """As the controller asks."""
        return int(self.storage.batch_exists(keys))

    def close(self) -> None:
        """Nothing to end."""


def host_pool(size: str) -> Any:
    """SGLang's page-first host pool of ``PAGES`` pages, touched."""
    device = MHATokenToKVPool(PAGE, PAGE, torch.bfloat16, device="cpu", enable_memory_saver=False, **GEOMETRY[size])
    pool = MHATokenToKVPoolHost(
        device.get_device_pool_infos()[0].buffer_info,
        host_to_device_ratio=1.0,
        host_size=0,
        page_size=PAGE,
        layout="page_first",
        pin_memory=False,
        device_capacity_tokens=device.size,
        start_layer=device.start_layer,
        end_layer=device.end_layer,
        host_token_capacity=PAGES * PAGE,
    )
    pool.kv_buffer.view(torch.uint8).fill_(1)
    return pool


def key(kind: str, index: int) -> str:
    """A page hash."""
    return hashlib.sha256(f"{kind} {index}".encode()).hexdigest()


def backend(name: str, pool: Any, settings: dict[str, Any], master: str) -> Backend:
    """One of SGLang's factory, with a configuration of its own."""
    extra: dict[str, dict[str, Any]] = {
        "kvasir": {
            "backend_name": "kvasir",
            "module_path": "kvasir_sglang.storage",
            "class_name": "KvasirStorage",
            "interface_v1": 1,
            "kvasir": {"socket": settings["socket"], "model": "bench"} | DEADLINES,
        },
        "file": {"file_storage_path": tempfile.mkdtemp(prefix="hicache-", dir=settings["directory"])},
        "mooncake": {
            "master_server_address": master,
            "local_hostname": f"127.0.0.1:{free_port()}",
            "metadata_server": "P2PHANDSHAKE",
            "protocol": "tcp",
            "device_name": "",
            "global_segment_size": 0,
            "check_server": False,
        },
    }
    config = HiCacheStorageConfig(
        tp_rank=0, tp_size=1, pp_rank=0, pp_size=1, attn_cp_rank=0, attn_cp_size=1, is_mla_model=False,
        enable_storage_metrics=False, is_page_first_layout=True, model_name=f"bench-{pool.layer_num}",
        extra_config=extra[name],
    )  # fmt: skip
    storage = StorageBackendFactory.create_backend("dynamic" if name == "kvasir" else name, config, pool)
    return Generic(storage, pool) if name == "file" else ZeroCopy(storage, pool)


class MooncakeServers:
    """Mooncake's master, and a process that lends its memory, as the suite ``peers`` has them."""

    def __init__(self, directory: Path) -> None:
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        code = "import sys; from mooncake.cli import main; sys.argv[0] = 'mooncake_master'; main()"
        flags = [f"-rpc_port={port}", "-rpc_address=127.0.0.1", f"-metrics_port={free_port()}"]
        flags += ["-metrics_host=127.0.0.1", "-default_kv_lease_ttl=1000", "-logtostderr=1"]
        with (directory / "mooncake.log").open("wb") as log:
            self._master = subprocess.Popen(
                [sys.executable, "-c", code, *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            wait_until(lambda: mooncake_driver.listens(port), "Mooncake's master", 30)
            self._lender = subprocess.Popen(
                [sys.executable, mooncake_driver.__file__, "--lend", self.address],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._lender.stdout is not None
        assert any(line.strip() == b"lending" for line in self._lender.stdout), "the lender ended: see mooncake.log"

    def close(self) -> None:
        """Ends both."""
        for process in (self._lender, self._master):
            process.kill()
            process.wait()


class Memcpy:
    """The limit: the same runs of bytes, copied by a bare loop."""

    def __init__(self, kvasir: ZeroCopy) -> None:
        self._pool = kvasir.storage._pools["kv"]

    def seconds(self, keys: list[str], indices: Any) -> float:
        """Of the copies of one batch, out of the client's own mapping."""
        client, place = self._pool.place.connection.client, self._pool.place
        pieces = self._pool.pages.destination(self._pool.pages.starts(indices, len(keys))).pieces
        with client.lookup(pack(keys), namespace=place.namespace) as lease:
            slots = lease.slots.reshape(-1)
            assert len(slots) == len(keys), "pages were evicted"
            pin = client.attachment.mapped.pin(slots)
            sources = (pin.address[pieces.object] + pieces.offset).tolist()
            targets, lengths = pieces.address.tolist(), pieces.length.tolist()
            begin = time.perf_counter()
            for target, source, length in zip(targets, sources, lengths, strict=True):
                copy(target, source, length)
            seconds = time.perf_counter() - begin
            client.attachment.mapped.unpin(pin)
        return seconds


def timed(work: Callable[[], Any]) -> float:
    """Seconds of a call."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


class Pages:
    """The pages of one size on all systems."""

    def __init__(self, size: str, settings: dict[str, Any], master: str, stack: ExitStack) -> None:
        self.size, self.pool = size, host_pool(size)
        self.bytes = self.pool.get_size_per_token() * PAGE
        self.indices = torch.arange(PAGES * PAGE)
        names = ["kvasir", "file", *(["mooncake"] if master else [])]
        self.backends = {
            name: stack.enter_context(closing(backend(name, self.pool, settings, master))) for name in names
        }
        self.memcpy = Memcpy(self.backends["kvasir"])  # type: ignore[arg-type]
        self.keys = [key(size, index) for index in range(STORED[size])]
        self._digests: dict[str, bytes] = {}
        self._serial = 0

    def _page(self, row: int) -> Any:
        return self.pool.get_data_page(row * PAGE).contiguous().view(torch.uint8).numpy()

    def store(self) -> None:
        """Fills the pool with random bytes, batch by batch, and stores it everywhere."""
        generator = np.random.default_rng(0)
        for first in range(0, len(self.keys), PAGES):
            raw = self.pool.kv_buffer.view(torch.uint8).reshape(-1)
            raw.copy_(torch.from_numpy(generator.integers(0, 256, len(raw), np.uint8)))
            batch = self.keys[first : first + PAGES]
            for row, name in enumerate(batch):
                self._digests[name] = hashlib.blake2b(self._page(row)).digest()
            for each in self.backends.values():
                each.set(batch, self.indices)

    def check(self, keys: list[str], who: str) -> None:
        """AssertionError when the pool does not hold the pages of these keys."""
        for row, name in enumerate(keys):
            assert hashlib.blake2b(self._page(row)).digest() == self._digests[name], f"{who}: wrong bytes in {name}"

    def get(self, random_: random.Random, verify: bool) -> dict[str, float]:
        """One run: the median seconds of every system's calls."""
        seconds: dict[str, list[float]] = {}
        for call in range(CALLS[self.size]):
            systems = [*self.backends, "memcpy"]
            random_.shuffle(systems)
            for name in systems:
                chosen, others = random_.sample(self.keys, PAGES), random_.sample(self.keys, PAGES)
                # The same state of the processor's caches for each.
                self.memcpy.seconds(others, self.indices)
                if name == "memcpy":
                    taken = self.memcpy.seconds(chosen, self.indices)
                else:
                    # As SGLang's controller: it asks for pages before it loads them.
                    assert self.backends[name].exists(chosen) == PAGES, f"{name}: pages are not there"
                    taken = timed(partial(self.backends[name].get, chosen, self.indices))
                seconds.setdefault(name, []).append(taken)
                if verify or call == 0:
                    self.check(chosen, name)
        return {name: statistics.median(each) for name, each in seconds.items()}

    def set(self, random_: random.Random, warm: bool) -> dict[str, float]:
        """One run of stores of pages that are new everywhere."""
        seconds: dict[str, list[float]] = {}
        # Kvasir in its steady state: DRAM is full, every slot was written before, and each reserve evicts.
        for __ in range(2 * DRAM_BYTES // (PAGES * self.bytes) if warm else 0):
            self._serial += PAGES
            self.backends["kvasir"].set([key("warm", self._serial + row) for row in range(PAGES)], self.indices)
        for __ in range(3):
            for name in random_.sample(list(self.backends), len(self.backends)):
                self._serial += PAGES
                fresh = [key(f"new {self.size} {name}", self._serial + row) for row in range(PAGES)]
                taken = timed(partial(self.backends[name].set, fresh, self.indices))
                seconds.setdefault(name, []).append(taken)
                if name != "kvasir":
                    # Kvasir evicts; SGLang's files and Mooncake's small memory would fill up.
                    self.backends[name].storage.clear()
        return {name: statistics.median(each) for name, each in seconds.items()}

    def exists(self, echo: EchoClient, _: bool) -> dict[str, float]:
        """One run of questions for pages that are all there; bursts of each take turns."""
        asked = self.keys[:ASKED]
        seconds: dict[str, list[float]] = {}
        for __ in range(BURSTS):
            for name, each in self.backends.items():
                # The others take long, and their few calls are steady.
                for __ in range(BURST if name == "kvasir" else 2):
                    begin = time.perf_counter()
                    there = each.exists(asked)
                    seconds.setdefault(name, []).append(time.perf_counter() - begin)
                    assert there == ASKED, f"{name}: {there} of {ASKED} pages are there"
            for __ in range(BURST):
                seconds.setdefault("echo", []).append(timed(echo.echo))
        return {name: statistics.median(each) for name, each in seconds.items()}


def main() -> None:
    """Runs everything."""
    settings = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    store = tempfile.mktemp(prefix="gloo-", dir=settings["directory"])
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    get_parallel().override_permanently(attn_dcp_size=1, attn_dcp_rank=0, tp_rank=0, tp_size=1, pp_rank=0, pp_size=1)
    random_ = random.Random(settings["seed"])
    found: dict[str, Any] = {"pages": PAGES, "asked": ASKED, "bytes": {}}
    runs = settings["runs"]
    with ExitStack() as stack:
        master = ""
        if settings["mooncake"]:
            master = stack.enter_context(closing(MooncakeServers(Path(settings["directory"])))).address
        echo = stack.enter_context(closing(EchoClient(settings["echo"])))
        for size in ("64k", "1m"):
            pages = Pages(size, settings, master, stack)
            found["bytes"][size] = pages.bytes
            say(f"sglang: storing {STORED[size]} pages of {pages.bytes >> 10} KiB on {', '.join(pages.backends)}")
            pages.store()
            jobs: dict[str, Callable[[bool], dict[str, float]]] = {
                f"get.{size}": partial(pages.get, random_),
            }
            if size == "64k":
                jobs["exists"] = partial(pages.exists, echo)
            # Last: what it stores displaces the pages that the others look for.
            jobs[f"set.{size}"] = partial(pages.set, random_)
            for job, work in jobs.items():
                say(f"sglang: {job}, {runs} runs")
                # The first one warms all up, verifies every page, and does not count.
                work(True)
                medians = [work(False) for _ in range(runs)]
                found[job] = {name: [each[name] for each in medians] for name in medians[0]}
    print(json.dumps(found | {"done": True}), file=_answers, flush=True)


if __name__ == "__main__":
    main()
