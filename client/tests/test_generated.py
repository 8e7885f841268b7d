from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).resolve().parent.parent


def test_generated_code_is_that_of_the_schema(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(CLIENT / "tools/generate.py"), str(tmp_path)], check=True)
    for name in ("_engine_pb2.py", "_engine_pb2.pyi"):
        fresh = (tmp_path / "kvasir" / name).read_bytes()
        assert fresh == (CLIENT / "src/kvasir" / name).read_bytes(), f"{name} is stale: run tools/generate.py"
