"""Data that comes with the tools; README.md says from where."""
