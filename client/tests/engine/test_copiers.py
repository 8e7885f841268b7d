from __future__ import annotations

from types import SimpleNamespace

import pytest

from kvasir import UnsupportedError
from kvasir.engine.copiers import copier_of


def test_pages_in_the_processors_memory_need_no_copier() -> None:
    assert copier_of(SimpleNamespace(type="cpu", index=None)) is None


def test_device_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match="KV caches on xpu are not served; cpu and cuda are"):
        copier_of(SimpleNamespace(type="xpu", index=0))
