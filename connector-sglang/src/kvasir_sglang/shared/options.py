"""What a user sets: the object ``kvasir`` inside ``--hicache-storage-backend-extra-config``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kvasir.engine.options import ConfigurationError, option_values
from kvasir.places import default_socket

#: The name of our object in SGLang's extra config; what lies beside it is SGLang's.
SECTION: Final = "kvasir"
#: With one, a load of 2,000 tokens into SGLang's host pool took longer on an H200 than computing them.
_MOST_COPY_THREADS: Final = 4


@dataclass(frozen=True)
class EngineOptions:
    """Options of one engine; every rank has the same.

    Attributes:
        socket: the node's Unix domain socket; empty: ``KVASIR_SOCKET``, or that of a node named ``local``.
        token_file: file with this tenant's token, where the node asks for one.
        model: names model and weights, instead of what the weight files say. Two engines with the same name here have
            to have the same weights.
        generation: grows when everything stored before is to be forgotten (new weights under an old name).
        exists_deadline_ms: the most that a question for pages may take.
        load_deadline_ms: the most that loading one batch may take.
        store_deadline_ms: the most that storing one batch may take.
        connect_wait_ms: how long SGLang's start waits for the node; afterwards it is tried again beside the engine.
        yield_ms: how long a slice of a backup lets loads go first.
        copy_threads: threads that copy in one load or store; 0: 4, or half of the processors where those are fewer.
        spin_us: how long to look for the node's answer before the thread sleeps; costs processor time.
        verify: check the checksum of every page after it was copied (needs google-crc32c).
    """

    socket: str = ""
    token_file: str = ""
    model: str = ""
    generation: int = 0
    exists_deadline_ms: int = 250
    load_deadline_ms: int = 1000
    store_deadline_ms: int = 5000
    connect_wait_ms: int = 5000
    yield_ms: int = 20
    copy_threads: int = 0
    spin_us: int = 0
    verify: bool = False

    def __post_init__(self) -> None:
        for name in ("exists_deadline_ms", "load_deadline_ms", "store_deadline_ms"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{SECTION}.{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("generation", "connect_wait_ms", "yield_ms", "copy_threads", "spin_us"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"{SECTION}.{name} is {getattr(self, name)}; it must not be negative")

    @staticmethod
    def of(extra_config: Mapping[str, Any] | None) -> EngineOptions:
        """Reads SGLang's extra config.

        Raises:
            ConfigurationError: an unknown key or a value of another type; names it, and the nearest valid key.
        """
        return EngineOptions(**option_values((extra_config or {}).get(SECTION, {}), EngineOptions, SECTION))

    @property
    def socket_path(self) -> str:
        """The socket to connect to."""
        return self.socket or default_socket()

    @property
    def threads(self) -> int:
        """Threads that copy in one load or store."""
        return self.copy_threads or max(1, min(_MOST_COPY_THREADS, len(os.sched_getaffinity(0)) // 2))

    def token(self) -> bytes:
        """This tenant's token; empty without one.

        Raises:
            OSError: the file cannot be read.
        """
        return Path(self.token_file).read_bytes().strip() if self.token_file else b""
