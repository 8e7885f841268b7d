"""``kvasir doctor --engine``: why an engine has no hits. It reports what can be seen, and nothing that is guessed."""
