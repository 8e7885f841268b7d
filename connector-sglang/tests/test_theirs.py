"""SGLang's own tests of storage backends that lie in its package pass with this one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.integration]

pytest.importorskip("sglang", reason="runs in the environment of ./kvasir test --engines")

TOOL = Path(__file__).resolve().parents[1] / "tools" / "sglang_storage_tests.py"


def test_sglangs_own_tests_of_storage_backends_pass() -> None:
    done = subprocess.run([sys.executable, str(TOOL)], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "5 passed, 0 failed" in done.stdout
