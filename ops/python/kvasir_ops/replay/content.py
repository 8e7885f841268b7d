"""What the demo stores: bytes that follow from a chunk's key, so that every byte that comes back can be checked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

WORD = 8
_PATTERN_SEED = 0x6B766173


class Content:
    """Makes and checks objects of one size. Each process of the demo has its own and all agree.

    Word ``i`` of the object of key ``k`` is ``pattern[i] * odd(k) + salt(k)`` modulo 2^64: random words that differ in
    every place and for every key, at the speed of memory, so that making content is not what the demo measures. An
    object at a wrong place, of another key, torn in two or shifted by a byte does not pass.
    """

    def __init__(self, object_bytes: int) -> None:
        if object_bytes <= 0 or object_bytes % WORD:
            raise ValueError(f"object_bytes must be a multiple of {WORD}; seen: {object_bytes}")
        self.object_bytes = object_bytes
        generator = np.random.Generator(np.random.PCG64(_PATTERN_SEED))
        self._pattern = generator.integers(0, 2**64, size=object_bytes // WORD, dtype=np.uint64)
        self._expected = np.empty_like(self._pattern)
        self._equal = np.empty(self._pattern.shape, dtype=np.bool_)

    def write(self, key: bytes, into: npt.NDArray[np.uint8]) -> None:
        """Fills ``into`` (``object_bytes`` long, aligned to 8 bytes) with the object of ``key``."""
        self._make(key, into.view(np.uint64))

    def wrong_bytes(self, key: bytes, loaded: npt.NDArray[np.uint8]) -> int:
        """How many bytes of ``loaded`` are not those of ``key``'s object."""
        self._make(key, self._expected)
        np.equal(loaded.view(np.uint64), self._expected, out=self._equal)
        if self._equal.all():
            return 0
        return int(np.count_nonzero(loaded != self._expected.view(np.uint8)))

    def _make(self, key: bytes, out: npt.NDArray[np.uint64]) -> None:
        factor = np.uint64(int.from_bytes(key[:8], "little") | 1)
        salt = np.uint64(int.from_bytes(key[8:16], "little"))
        np.multiply(self._pattern, factor, out=out)
        np.add(out, salt, out=out)
