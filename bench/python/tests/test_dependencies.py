"""What is shipped does not depend on this package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[3]
IMPORT = re.compile(r"^\s*(?:from|import)\s+kvasir_bench\b", re.MULTILINE)
SHIPPED = (
    "client/src", "ops/python/kvasir_ops", "connector-vllm/src", "connector-sglang/src", "router/src",
)  # fmt: skip


@pytest.mark.parametrize("folder", SHIPPED)
def test_nothing_that_is_shipped_imports_benchmarks_or_checks(folder: str) -> None:
    sources = sorted((HOME / folder).rglob("*.py"))
    assert sources
    assert [str(source) for source in sources if IMPORT.search(source.read_text(encoding="utf-8"))] == []
