"""Kvasir's tools in Python: the demo, the lab, the simulation's curves, and nodes as processes."""

import os
from pathlib import Path


def home() -> Path:
    """The checkout: what the launcher says, or the one that this package was installed from."""
    return Path(os.environ.get("KVASIR_HOME") or Path(__file__).resolve().parents[3])
