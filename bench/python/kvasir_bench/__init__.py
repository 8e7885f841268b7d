"""What measures and checks Kvasir and is not shipped: benchmarks, engines and peers, and what ``kvasir test`` runs.

``kvasir bench`` calls :mod:`kvasir_bench.cli`. A suite is a module with ``run(context)`` that yields
:class:`~kvasir_bench.records.Record`; whether a record meets its goal is decided in one place,
:func:`kvasir_bench.records.met`. ``kvasir test`` calls :mod:`kvasir_bench.checks`. Nothing of ``kvasir_ops``, which is
what a user of Kvasir runs, depends on this package.
"""
