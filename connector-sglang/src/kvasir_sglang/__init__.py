"""Kvasir for SGLang: pages that any engine of the tier has computed are loaded, not computed again.

SGLang finds :class:`kvasir_sglang.storage.KvasirStorage` (``--hicache-storage-backend dynamic``) and
:class:`kvasir_sglang.linker.KvasirLinker` (``--unified-cache-external-linker-backend dynamic``) by their names. Modules
that import SGLang are imported with these two, so that the rest runs and is tested without an engine.
"""
