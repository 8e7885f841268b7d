"""Kvasir for vLLM: a prompt that any engine of the tier has computed is loaded, not computed again.

vLLM finds the connector here by ``"kv_connector": "KvasirConnector", "kv_connector_module_path": "kvasir_vllm"``, or
by name alone through the plugin entry point. What imports vLLM is imported when it is asked for, so that tools can use
the rest without an engine.
"""

from __future__ import annotations

from typing import Any

__all__ = ["KvasirConnector"]


def __getattr__(name: str) -> Any:
    if name == "KvasirConnector":
        from kvasir_vllm.connector import KvasirConnector

        return KvasirConnector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
