"""The scripts that drive each system; each runs in its own environment, with this package on its path."""
