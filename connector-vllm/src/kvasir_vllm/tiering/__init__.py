"""Kvasir as a secondary tier of vLLM's own ``OffloadingConnector``: ``KvasirTier``.

vLLM moves pages between its device and a region of host memory; this moves the region's rows between there and the
node, by threads of the engine's scheduler process. There is no device code here. Named to vLLM by
``{"type": "KvasirTier", "module_path": "kvasir_vllm.tiering"}``; see docs/vllm-tiering.md.
"""

from kvasir_vllm.tiering.tier import KvasirTier

__all__ = ["KvasirTier"]
