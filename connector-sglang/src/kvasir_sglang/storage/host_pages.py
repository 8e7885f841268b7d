"""SGLang's host pools seen as pages: where the bytes of each page lie. The storage makes one for each pool.

The pool says by ``get_page_buffer_meta`` of which runs of bytes a page consists. An object is these runs one after the
other, in the pool's order, so nothing is copied twice. A pool that cannot say it (Mamba states without a page-first
layout) gives and takes flat copies of a page instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from kvasir import Deadline, Pieces

from kvasir_sglang.shared.pages import I64, U64, Bools, Destination, PageError, PoolPages


@dataclass(frozen=True)
class _EvenRuns:
    """A page's runs, when their addresses grow evenly with the page's first index."""

    base: I64
    per_index: I64


class DirectPages(PoolPages):
    """A pool that says where its pages lie: loads and stores copy between it and the node's memory."""

    def __init__(self, pool: Any) -> None:
        page = max(int(getattr(pool, "page_size", 1) or 1), 1)
        at_zero, lengths = _runs_of(pool, [0], page)
        super().__init__(pool, "runs", lengths.tolist())
        self.page_bytes = int(lengths.sum())
        self._lengths = lengths.astype(np.uint64)
        self._offsets = (np.cumsum(lengths) - lengths).astype(np.uint64)
        self._even = self._even_runs(at_zero, lengths)
        self._shapes: dict[int, tuple[I64, U64, U64]] = {}

    def _even_runs(self, at_zero: I64, lengths: I64) -> _EvenRuns | None:
        """Asking the pool takes a millisecond for 128 pages; most pools' answer is a line, which three pages show."""
        pages = self._slots // self.page_tokens
        if pages < 3 or getattr(self.pool, "shared_allocation_domain", None) is not None:
            return None
        last = (pages - 1) * self.page_tokens
        for start in (self.page_tokens, last):
            if not np.array_equal(_runs_of(self.pool, [start], self.page_tokens)[1], lengths):
                return None
        at_one = _runs_of(self.pool, [self.page_tokens], self.page_tokens)[0]
        at_last = _runs_of(self.pool, [last], self.page_tokens)[0]
        step = at_one - at_zero
        if (step % self.page_tokens).any() or not np.array_equal(at_last, at_zero + step * (pages - 1)):
            return None
        return _EvenRuns(at_zero, step // self.page_tokens)

    def _pieces(self, starts: I64) -> Pieces:
        count, runs = len(starts), len(self._lengths)
        if self._even is not None:
            address = (self._even.base + starts[:, None] * self._even.per_index).reshape(-1)
        else:
            address, lengths = _runs_of(self.pool, starts.tolist(), self.page_tokens)
            if not np.array_equal(lengths, np.tile(self._lengths, count).astype(np.int64)):
                raise PageError(f"the runs of {type(self.pool).__name__}'s pages changed")
        shape = self._shapes.get(count)
        if shape is None:
            if len(self._shapes) > 8:
                self._shapes.clear()
            shape = self._shapes[count] = (
                np.repeat(np.arange(count, dtype=np.int64), runs),
                np.tile(self._offsets, count),
                np.tile(self._lengths, count),
            )
        return Pieces(shape[0], shape[1], address.astype(np.uint64), shape[2])

    def source(self, starts: I64) -> tuple[Pieces, Any]:
        """The pool's own memory."""
        return self._pieces(starts), None

    def destination(self, starts: I64) -> Destination:
        """The pool's own memory."""
        return Destination(self._pieces(starts))


class FlatPages(PoolPages):
    """A pool that only gives and takes flat copies of a page: one more copy on each side."""

    def __init__(self, pool: Any) -> None:
        page = pool.get_dummy_flat_data_page()
        self.page_bytes = _bytes_of(page)
        super().__init__(pool, "flat", [self.page_bytes])

    def source(self, starts: I64) -> tuple[Pieces, Any]:
        """Copies of the pages."""
        pages = [self.pool.get_data_page(start, flat=True).contiguous() for start in starts.tolist()]
        return self._pieces(pages), pages

    def destination(self, starts: I64) -> Destination:
        """Pages beside the pool, put into it by ``finish``."""
        pages = [self.pool.get_dummy_flat_data_page() for _ in starts]

        def finish(loaded: Bools, deadline: Deadline) -> Bools:
            done = np.zeros(len(loaded), dtype=bool)
            for row in np.flatnonzero(loaded).tolist():
                if deadline.remaining() <= 0:
                    break
                self.pool.set_from_flat_data_page(int(starts[row]), pages[row])
                done[row] = True
            return done

        return Destination(self._pieces(pages), finish)

    def _pieces(self, pages: list[Any]) -> Pieces:
        for page in pages:
            if _bytes_of(page) != self.page_bytes:
                raise PageError(f"a flat page has {_bytes_of(page)} bytes; expected {self.page_bytes}")
        return tensor_pieces(pages)


def tensor_pieces(tensors: list[Any]) -> Pieces:
    """One whole piece for each tensor.

    Raises:
        PageError: a tensor that is not contiguous CPU memory.
    """
    for tensor in tensors:
        if tensor.device.type != "cpu" or not tensor.is_contiguous():
            raise PageError(f"a page is a tensor on {tensor.device}, contiguous {tensor.is_contiguous()}")
    return Pieces(
        np.arange(len(tensors), dtype=np.int64),
        np.zeros(len(tensors), dtype=np.uint64),
        np.array([tensor.data_ptr() for tensor in tensors], dtype=np.uint64),
        np.array([_bytes_of(tensor) for tensor in tensors], dtype=np.uint64),
    )


def pages_of(pool: Any) -> PoolPages:
    """The pages of a host pool.

    Raises:
        PageError: the pool offers neither way.
    """
    reasons = []
    for kind in (DirectPages, FlatPages):
        try:
            pages = kind(pool)
        except Exception as error:  # the pool's own code; each raises what it likes
            reasons.append(f"{type(error).__name__}: {error}")
            continue
        if pages.page_bytes > 0:
            return pages
        reasons.append("its pages have no bytes")
    raise PageError(
        f"the pages of {type(pool).__name__} ({getattr(pool, 'layout', '')}) cannot be addressed: {'; '.join(reasons)}"
    )


def _bytes_of(tensor: Any) -> int:
    return int(tensor.numel() * tensor.element_size())


def _runs_of(pool: Any, starts: list[int], page: int) -> tuple[I64, I64]:
    """Addresses and lengths of the runs of pages, as the pool names them."""
    import torch  # the engine's; it is there wherever a pool is

    indices = (torch.tensor(starts, dtype=torch.int64)[:, None] + torch.arange(page)).reshape(-1)
    meta = pool.get_page_buffer_meta(indices)
    if not meta:
        raise PageError("the pool names no memory")
    addresses, lengths = meta
    if isinstance(lengths, int):
        lengths = [lengths] * len(addresses)
    return np.array(addresses, dtype=np.int64), np.array(lengths, dtype=np.int64)
