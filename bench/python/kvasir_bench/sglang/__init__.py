"""The suite ``sglang``: SGLang's host pools filled through its HiCache storage interface, by Kvasir and by others.

:mod:`.suite` starts a node, an echo server and :mod:`.driver`, which runs in SGLang's environment with SGLang's own
pools and backends, and measures all of them in turn.
"""
