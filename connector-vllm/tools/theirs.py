"""Runs some of vLLM's own tests, with a pytest plugin that puts a part of Kvasir in the place of one of vLLM's."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kvasir_ops.testing import MIB, Node

_BOUND_S = 600.0


def main(description: str | None, folder: Path, plugin: str, apply: Sequence[str]) -> int:
    """Parses the command line, starts a node (``KVASIR_SOCKET``) and runs pytest; its exit status.

    Args:
        description: for ``--help``.
        folder: of the tests, in a checkout.
        plugin: module in this folder.
        apply: files and tests in ``folder``, and options for pytest.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, metavar="CHECKOUT", help="folder of vLLM's sources with tests/")
    parser.add_argument("pytest", nargs="*", help="further arguments for pytest (after --)")
    options = parser.parse_args()
    checkout = options.checkout.resolve()
    if not (checkout / folder).is_dir():
        parser.error(f"{checkout / folder} is not there; CHECKOUT must be a folder of vLLM's sources")
    with Node(256 * MIB) as node, tempfile.TemporaryDirectory(prefix="kvasir-vllm-tests-") as place:
        # The tests alone: beside them in a checkout lies vLLM's source, which is not the vLLM that is installed.
        root = Path(place)
        (root / "tests").symlink_to(checkout / "tests")
        command = [
            sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", place, "--noconftest",
            "-p", "no:cacheprovider", "-p", plugin, "-ra",
            *(os.fspath(root / folder / name) if name.startswith("test_") else name for name in apply),
            *options.pytest,
        ]  # fmt: skip
        paths = [os.fspath(Path(__file__).parent), place, *map(os.path.abspath, filter(None, sys.path))]
        environment = {**os.environ, "KVASIR_SOCKET": node.socket, "PYTHONPATH": os.pathsep.join(paths)}
        return subprocess.run(command, cwd=root, env=environment, timeout=_BOUND_S, check=False).returncode
