"""CRC32C: of the few bytes of a region's preamble here, of payload by the optional google-crc32c."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from kvasir.errors import UnsupportedError

_REVERSED_POLYNOMIAL: Final = 0x82F63B78


def crc32c_small(data: bytes) -> int:
    """CRC32C (Castagnoli, reflected) bit by bit; some microseconds a byte, so only for a few bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_REVERSED_POLYNOMIAL if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def payload_crc32c() -> Callable[[Any], int]:
    """The function that sums payload: of any read-only or numpy buffer."""
    try:
        import google_crc32c
    except ImportError as error:
        raise UnsupportedError(
            "checksums of payload need google-crc32c: pip install 'kvasir-client[crc32c]'"
        ) from error
    return cast("Callable[[Any], int]", google_crc32c.value)
