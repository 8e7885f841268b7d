"""``./kvasir demo``: three nodes as one cache, an engine stand-in at each, a real trace, and ``kill -9``."""
