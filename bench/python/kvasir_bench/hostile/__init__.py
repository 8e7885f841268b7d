"""Hostile engines against one node, and good clients beside them."""
