"""SGLang's device pools seen as pages, whole and layer by layer: what a cache linker stores and loads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from kvasir import Pieces
from sglang.srt.mem_cache.hicache_storage import PoolName
from sglang.srt.mem_cache.hybrid_cache.linker_pool_assembler import (
    DevicePoolEntry,
    DevicePoolGroup,
    resolve_hybrid_device_pool_group,
)
from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool, MLATokenToKVPool

from kvasir_sglang.shared.pages import I64, U64, Destination, PageError, PoolPages, dtype_of, fingerprint, geometry_of

#: Pools whose pages are stored as the host pool of this class, in layout ``page_first_direct``, has them.
_HOST_POOLS: Final = {MHATokenToKVPool: "MHATokenToKVPoolHost", MLATokenToKVPool: "MLATokenToKVPoolHost"}
_HOST_LAYOUT: Final = "page_first_direct"


@dataclass(frozen=True)
class _Runs:
    """Runs of a page: row ``r`` of a buffer begins at ``base + r * stride``, and in the object at ``offset``."""

    base: I64
    stride: I64
    offset: U64
    length: U64

    def pieces(self, rows: I64) -> Pieces:
        """Of the pages that begin at these rows, as objects 0, 1, ..."""
        address = self.base + rows[:, None] * self.stride
        return Pieces(
            np.repeat(np.arange(len(rows), dtype=np.int64), len(self.base)),
            np.tile(self.offset, len(rows)),
            address.reshape(-1).astype(np.uint64),
            np.tile(self.length, len(rows)),
        )


class DevicePages(PoolPages):
    """Pages of one device pool. An object is the page's rows of each buffer, one after the other.

    Args:
        entry: SGLang's view of the pool.
        layers: that the engine waits for one by one.
    """

    def __init__(self, entry: DevicePoolEntry, layers: int) -> None:
        self.pool = entry.device_pool
        self._entry = entry
        self.page_tokens = int(entry.page_size)
        buffers = [meta for component in entry.buffer_meta for meta in component]
        lengths = np.array([size for _, _, size in buffers], dtype=np.int64)
        for tensor, (_, stride, size) in zip(entry.kv_buffer, buffers, strict=True):
            if not tensor[0].is_contiguous() or (size > stride and not tensor.is_contiguous()):
                raise PageError(f"pages of pool {entry.name} do not lie together")
        self.page_bytes = int(lengths.sum())
        self._all = _Runs(
            np.array([base for base, _, _ in buffers], dtype=np.int64),
            np.array([stride for _, stride, _ in buffers], dtype=np.int64),
            (np.cumsum(lengths) - lengths).astype(np.uint64),
            lengths.astype(np.uint64),
        )
        self._buffers_of = [self._buffers_of_layer(layer) for layer in range(layers)]
        self.layer_bytes = [int(lengths[chosen].sum()) for chosen in self._buffers_of]
        kind = _HOST_POOLS.get(type(self.pool))
        self.dtype = dtype_of(self.pool)
        geometry = geometry_of(self.pool)
        if kind is None or entry.name != PoolName.KV:
            sizes = [size for component in entry.buffer_meta for _, _, size in component]
            self.fingerprint = fingerprint(
                type(self.pool).__name__, "device", "runs", self.page_tokens, sizes, geometry
            )
            return
        self.dtype = str(self.pool.store_dtype).removeprefix("torch.")
        sizes = [sum(size for _, _, size in component) for component in entry.buffer_meta]
        self.fingerprint = fingerprint(
            kind, _HOST_LAYOUT, "runs", self.page_tokens, sizes, _as_on_the_host(self.pool, geometry)
        )

    def _buffers_of_layer(self, layer: int) -> list[int]:
        """Indices of the buffers that a layer needs, in the order of the object."""
        named = self._entry.layer_mapping.get(layer)
        if named is None:
            return []
        chosen, before = [], 0
        for component in self._entry.buffer_meta:
            chosen += [before + index for index in ([named] if isinstance(named, int) else named)]
            before += len(component)
        return sorted(chosen)

    def starts(self, indices: Any, pages: int) -> I64:
        """The first row of each page.

        Raises:
            PageError: as for host pools.
        """
        try:
            rows = np.array(self._entry.prepare_locations(indices), dtype=np.int64)
        except (ValueError, RuntimeError, AttributeError) as error:
            raise PageError(str(error)) from error
        if len(rows) != pages:
            raise PageError(f"device indices of {len(rows)} pages for {pages} keys")
        return rows

    def source(self, starts: I64) -> tuple[Pieces, Any]:
        """The pool's own memory."""
        return self._all.pieces(starts), None

    def destination(self, starts: I64) -> Destination:
        """The pool's own memory."""
        return Destination(self._all.pieces(starts))

    def layers(self, starts: I64, layers: Sequence[int]) -> Pieces:
        """What these layers need of pages."""
        chosen = np.array(sorted({index for layer in layers for index in self._buffers_of[layer]}), dtype=np.int64)
        runs = self._all
        return _Runs(runs.base[chosen], runs.stride[chosen], runs.offset[chosen], runs.length[chosen]).pieces(starts)


def _as_on_the_host(pool: Any, geometry: dict[str, Any]) -> dict[str, Any]:
    """What the host pool of a device pool says about itself, so that pages of both are the same objects."""
    if isinstance(pool, MLATokenToKVPool):
        return geometry
    heads = {"head_num": geometry.pop("head_num"), "head_group_num": 1}
    before = {name: geometry.pop(name) for name in ("layer_num", "start_layer", "end_layer") if name in geometry}
    layout = pool.get_device_pool_infos()[0].buffer_info.buffers.layout
    return before | heads | geometry | {"device_layout": getattr(layout, "value", layout)}


def device_pools(kvcache: Any, params: Any, components: set[Any]) -> DevicePoolGroup:
    """The device pools of an engine.

    SGLang makes them for hybrid models. For models with one plain pool it has nothing to make them with, so that is
    done here.

    Raises:
        ValueError: pools that cannot be stored; SGLang's message for those that are its own to make.
    """
    if type(kvcache) not in _HOST_POOLS:
        return resolve_hybrid_device_pool_group(
            kvcache=kvcache, page_size=params.page_size, params=params, components=components
        )
    if params.mtp_draft_device_pools or params.sidecar_draft_device_pools:
        raise ValueError("pages of draft models are not stored by the cache linker; use the HiCache storage")
    if getattr(kvcache, "layer_shard_enabled", False):
        raise ValueError("layers that are split between ranks are not stored by the cache linker")
    scales = ("k_scale_buffer", "native_k_scale_buffer", "kv_scale_buffer")
    if any(getattr(kvcache, name, None) is not None for name in scales):
        raise ValueError("pools with scales are not stored by the cache linker; use the HiCache storage")
    replicated = isinstance(kvcache, MLATokenToKVPool)
    entry = DevicePoolEntry(
        name=PoolName.KV,
        indices_from_pool=PoolName.KV,
        device_pool=kvcache,
        components=[kvcache.kv_buffer] if replicated else [kvcache.k_buffer, kvcache.v_buffer],
        layer_mapping={layer: layer for layer in range(kvcache.layer_num)},
        page_size=params.page_size,
        rows_are_pages=False,
    )
    if any(buffer.shape[0] < kvcache.size for buffer in entry.kv_buffer):
        raise ValueError(f"{type(kvcache).__name__} has no row for each token")
    return DevicePoolGroup([entry], kvcache.layer_num, params.page_size, rank_replicated=replicated)
