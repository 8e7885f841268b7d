"""``./kvasir demo``: a node, two engine stand-ins and a real trace, with ``kill -9`` of the node in the middle."""
