"""Writes src/kvasir/_engine_pb2.py and .pyi from the engine API's schema; the test suite fails when they are stale.

Usage: python tools/generate.py [OUTPUT_DIRECTORY]
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

CLIENT = Path(__file__).resolve().parent.parent
SCHEMA = CLIENT.parent / "node/src/main/proto/kvasir/engine/v1/engine.proto"


def generate(output: Path) -> None:
    """Writes the two generated files under ``output / "kvasir"``."""
    with tempfile.TemporaryDirectory() as scratch:
        # Named so that the generated module lands inside the package, under a private name.
        source = Path(scratch) / "kvasir" / "_engine.proto"
        source.parent.mkdir()
        shutil.copyfile(SCHEMA, source)
        well_known = Path(grpc_tools.__file__).parent / "_proto"
        code = protoc.main(
            ["protoc", f"-I{scratch}", f"-I{well_known}", f"--python_out={output}", f"--pyi_out={output}", str(source)]
        )
    if code != 0:
        raise SystemExit(f"protoc ended with {code}")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else CLIENT / "src")
