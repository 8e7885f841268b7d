"""Runs SGLang's own end-to-end storage tests with Kvasir as the backend, from a checkout of SGLang's sources.

Needs what those tests need: a GPU, and the weights of their models. Not collected by pytest.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import unittest
from pathlib import Path
from typing import Any

WHERE = Path("test/registered/hicache/test_hicache_storage_file_backend.py")


def load(checkout: Path) -> Any:
    """Their module."""
    spec = importlib.util.spec_from_file_location("sglang_storage_tests", checkout / WHERE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def point_at_kvasir(mixin: Any, socket: str) -> None:
    """Their server arguments, with another backend; what they set themselves stays."""
    theirs = mixin._get_base_server_args.__func__

    def arguments(cls: Any) -> dict[str, Any]:
        given: dict[str, Any] = theirs(cls)
        flag = "--hicache-storage-backend-extra-config"
        extra = json.loads(given.get(flag, "{}")) | {
            "backend_name": "kvasir",
            "module_path": "kvasir_sglang.storage",
            "class_name": "KvasirStorage",
            "interface_v1": 1,
            "kvasir": {"socket": socket},
        }
        return given | {"--hicache-storage-backend": "dynamic", flag: json.dumps(extra)}

    mixin._get_base_server_args = classmethod(arguments)


def main() -> int:
    """Exit status 0 when all of them passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, help="SGLang's sources, of the installed version")
    parser.add_argument("--socket", required=True, help="socket of a running node")
    parser.add_argument("--only", nargs="+", metavar="CLASS", help="run these classes (default: all)")
    options = parser.parse_args()
    if not (options.checkout / WHERE).is_file():
        parser.error(f"{options.checkout / WHERE} is not there")
    module = load(options.checkout)
    point_at_kvasir(module.HiCacheStorageBaseMixin, options.socket)
    loader = unittest.TestLoader()
    tests = loader.loadTestsFromNames(options.only, module) if options.only else loader.loadTestsFromModule(module)
    return 0 if unittest.TextTestRunner(verbosity=2).run(tests).wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
