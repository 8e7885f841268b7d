"""vLLM's own tests that apply to a connector or a tier from outside pass with these ones."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

vllm = pytest.importorskip("vllm", reason="runs in the environment of ./kvasir test --engines")

from kvasir_bench.engines.vllm_tests import checkout  # noqa: E402
from kvasir_bench.environments import EnvironmentUnavailableError  # noqa: E402

pytestmark = [pytest.mark.engine, pytest.mark.integration]

TOOLS = Path(__file__).resolve().parents[1] / "tools"


@pytest.fixture(scope="module")
def sources() -> Path:
    """vLLM's tests, of the version that is installed."""
    try:
        return checkout(vllm.__version__.partition("+")[0], print)
    except EnvironmentUnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("tool", "least"), [("vllm_connector_tests.py", 21), ("vllm_tiering_tests.py", 30)])
def test_vllms_own_tests_pass(sources: Path, tool: str, least: int) -> None:
    done = subprocess.run(
        [sys.executable, str(TOOLS / tool), str(sources)], capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout[-4000:]
    assert int(passed[1]) >= least
