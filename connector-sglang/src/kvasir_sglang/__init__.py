"""SGLang's HiCache storage on Kvasir.

SGLang loads :class:`kvasir_sglang.storage.KvasirStorage` by name (``--hicache-storage-backend dynamic``). Nothing here
imports SGLang but :mod:`kvasir_sglang.storage`, so that the rest runs and is tested without an engine.
"""
