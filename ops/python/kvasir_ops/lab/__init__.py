"""``./kvasir lab``: real nodes in network namespaces, a trace, faults on a schedule, and every byte checked."""
