"""Which part of the client copies the bytes of an engine's pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvasir._copy import Copies
from kvasir.errors import UnsupportedError


def copier_of(device: Any) -> Callable[[], Copies] | None:
    """Makes what copies between the node's memory and a device's, one for each client. None: the client's own threads.

    Args:
        device: a ``torch.device``.

    Raises:
        UnsupportedError: pages on a device of this type cannot be copied.
    """
    if device.type == "cpu":
        return None
    if device.type != "cuda":
        raise UnsupportedError(f"KV caches on {device.type} are not served; cpu and cuda are")

    def cuda() -> Copies:
        from kvasir.cuda import CudaCopier

        return CudaCopier(device.index or 0)

    return cuda
