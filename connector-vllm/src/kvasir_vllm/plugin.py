"""vLLM's plugin entry point: makes ``KvasirConnector`` known by its name."""

from __future__ import annotations


def register() -> None:
    """Called by vLLM in each of its processes; may be called more than once."""
    from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory

    if "KvasirConnector" not in KVConnectorFactory._registry:
        KVConnectorFactory.register_connector("KvasirConnector", "kvasir_vllm.connector", "KvasirConnector")
