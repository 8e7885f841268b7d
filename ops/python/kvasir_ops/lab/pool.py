"""Whether nodes are one cache: asked the way an engine would, by storing at each and loading at every other."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from types import TracebackType

import numpy as np
from kvasir import KvasirError, SlotStatus

from kvasir_ops.replay.content import Content
from kvasir_ops.replay.probe import connect

_WAIT_SECONDS = 0.1
_PAUSE_SECONDS = 0.02
_STORE_EVERY_SECONDS = 1.0


class PoolProbe:
    """A client at each node. Owned by one thread."""

    def __init__(self, sockets: Mapping[str, str], object_bytes: int) -> None:
        self._clients = {name: connect(path, "pool probe") for name, path in sockets.items()}
        self._content = Content(object_bytes)
        self._round = 0
        self._page = np.empty((1, object_bytes), dtype=np.uint8)

    def seconds_until_one(self, bound: float) -> float | None:
        """Seconds until what is stored now at each node is loaded, and right, at every other; None past ``bound``.

        Every object is stored anew from time to time, since what a node stored while it was alone may be announced
        later than what it stores now.
        """
        began = time.monotonic()
        missing: set[tuple[str, str]] = set()
        stored_at = -_STORE_EVERY_SECONDS
        keys: dict[str, bytes] = {}
        while (now := time.monotonic() - began) < bound:
            if now - stored_at >= _STORE_EVERY_SECONDS or not missing:
                stored_at = now
                keys = self._store_everywhere()
                missing = {(holder, asker) for holder in keys for asker in self._clients if holder != asker}
            missing = {pair for pair in missing if not self._loads(pair[1], keys[pair[0]])}
            if not missing and len(keys) == len(self._clients):
                return time.monotonic() - began
            time.sleep(_PAUSE_SECONDS)
        return None

    def _store_everywhere(self) -> dict[str, bytes]:
        self._round += 1
        keys = {}
        for name, client in self._clients.items():
            key = hashlib.blake2b(f"{id(self)}/{name}/{self._round}".encode(), digest_size=32).digest()
            self._content.write(key, self._page[0])
            try:
                stored = client.store([key], self._page, wait=_WAIT_SECONDS)
            except KvasirError:
                continue
            if int(stored.statuses.ravel()[0]) == SlotStatus.COMMITTED:
                keys[name] = key
        return keys

    def _loads(self, name: str, key: bytes) -> bool:
        try:
            loaded = self._clients[name].load_prefix([key], self._page, wait=_WAIT_SECONDS)
        except KvasirError:
            return False
        return loaded.leading_chunks == 1 and self._content.wrong_bytes(key, self._page[0]) == 0

    def close(self) -> None:
        """Ends the attachments."""
        for client in self._clients.values():
            client.close()

    def __enter__(self) -> PoolProbe:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
