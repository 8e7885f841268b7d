"""What a user sets in ``kv_connector_extra_config``; read once, and every mistake is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kvasir.engine.options import ConfigurationError, option_values
from kvasir.places import default_socket

THE_FLAG = (
    '--kv-transfer-config \'{"kv_connector": "KvasirConnector", "kv_connector_module_path": "kvasir_vllm", '
    '"kv_role": "kv_both", "kv_load_failure_policy": "recompute"}\''
)
"""What a user gives ``vllm serve``."""

_SECONDS = ("lookup_timeout", "load_timeout", "store_timeout", "lease_seconds", "handoff_timeout", "handoff_seconds")


@dataclass(frozen=True)
class ConnectorOptions:
    """The connector's settings.

    Attributes:
        socket: the node's Unix domain socket.
        token: names the tenant where the node is configured with tokens.
        chunk_tokens: tokens of a chunk, a multiple of the engine's block; 0: the smallest with at least 256 tokens.
        model: the model's identity; empty: what vLLM was given.
        weights_digest: the identity of the weights; empty: a digest of the files.
        generation: of the namespace; another one shares nothing with those before.
        load, store: whether to do that at all.
        store_generated: also store chunks that hold generated tokens.
        lookup_timeout: seconds from asking to the answer; then what has arrived is what there is.
        load_timeout: seconds that a load may take; what has not arrived then is computed.
        store_timeout: seconds that a store may take; blocks stay pinned that long at most.
        lease_seconds: length of a lease; renewed while a request waits.
        handoff_timeout: seconds that a decode engine waits for what a prefill engine computes for it.
        handoff_seconds: how long what is handed off may wait for being computed, and its tail for being taken.
        max_waiting_tokens: tokens that requests which wait may hold leases on.
        max_pinned_share: share of the engine's blocks that stores in flight may pin.
        load_threads: loads that copy at the same time in each worker.
        whole_blocks: ask vLLM for a KV cache in which a block of all layers lies together.
        verify: check CRC32C of what was loaded (whole objects only; needs google-crc32c).
        allow_failure_policy_fail: start although vLLM would end requests whose load failed.
    """

    socket: str = ""
    token: str = ""
    chunk_tokens: int = 0
    model: str = ""
    weights_digest: str = ""
    generation: int = 0
    load: bool = True
    store: bool = True
    store_generated: bool = True
    lookup_timeout: float = 0.5
    load_timeout: float = 5.0
    store_timeout: float = 5.0
    lease_seconds: float = 30.0
    handoff_timeout: float = 2.0
    handoff_seconds: float = 60.0
    max_waiting_tokens: int = 1 << 20
    max_pinned_share: float = 0.25
    load_threads: int = 2
    whole_blocks: bool = True
    verify: bool = False
    allow_failure_policy_fail: bool = False

    def __post_init__(self) -> None:
        if not self.socket:
            object.__setattr__(self, "socket", default_socket())
        for name in _SECONDS:
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"{name} is {getattr(self, name)}; it must be more than 0 seconds")
        if self.chunk_tokens < 0 or self.max_waiting_tokens < 1 or self.load_threads < 1 or self.generation < 0:
            raise ConfigurationError(
                "chunk_tokens and generation must not be negative, max_waiting_tokens and load_threads at least 1; "
                f"seen: {self.chunk_tokens}, {self.generation}, {self.max_waiting_tokens}, {self.load_threads}"
            )
        if not 0 < self.max_pinned_share <= 1:
            raise ConfigurationError(f"max_pinned_share is {self.max_pinned_share}; it must be above 0, to 1")

    @staticmethod
    def of(given: Mapping[str, Any]) -> ConnectorOptions:
        """From ``kv_connector_extra_config``.

        Raises:
            ConfigurationError: an unknown name (the nearest is named) or a value of another type.
        """
        return ConnectorOptions(**option_values(given, ConnectorOptions, "kv_connector_extra_config"))
