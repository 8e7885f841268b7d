"""Kvasir's benchmarks: each suite measures a limit of the machine in the same run and says how near Kvasir comes.

``kvasir bench`` calls :mod:`kvasir_ops.bench.cli`. A suite is a module with ``run(context)`` that yields
:class:`~kvasir_ops.bench.records.Record`; whether a record meets its goal is decided in one place,
:func:`kvasir_ops.bench.records.met`.
"""
