"""SGLang's cache linker on a node: ``KvasirLinker``, which moves pages between the GPU and the node."""

from kvasir_sglang.linker.linker import KvasirLinker

__all__ = ["KvasirLinker"]
