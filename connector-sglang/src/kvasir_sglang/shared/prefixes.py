"""Which prefixes can be restored, from which of their pages are there."""

from __future__ import annotations

import numpy as np

from kvasir_sglang.shared.pages import Bools


def complete_prefixes(there: Bools, window: int) -> Bools:
    """[n - 1]: whether all of the first n pages are there, or with a ``window`` the last ones of them."""
    if not window:
        return np.logical_and.accumulate(there) if len(there) else there
    missing = np.concatenate(([0], np.cumsum(~there)))
    ends = np.arange(1, len(there) + 1)
    complete: Bools = missing[ends] == missing[np.maximum(ends - window, 0)]
    return complete
