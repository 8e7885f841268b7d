"""SGLang's HiCache storage on a node: ``KvasirStorage``.

SGLang keeps pages in pools of host memory; this moves them between there and the node.
"""

from kvasir_sglang.storage.storage import KvasirStorage

__all__ = ["KvasirStorage"]
