"""Kvasir's tools in Python: the demo, the checks behind ``kvasir test``, and the benchmarks."""
