"""Which folders of a package import which, for the tests that hold a connector's layout."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType


def folders(package: ModuleType) -> set[str]:
    """The packages directly inside this one, by name."""
    return {place.parent.name for place in _place(package).glob("*/__init__.py")}


def imports(package: ModuleType, folder: str) -> Iterator[tuple[Path, set[str]]]:
    """Each module of a folder, with what it imports from directly inside the package."""
    for module in (_place(package) / folder).rglob("*.py"):
        yield module, set(_imported(package.__name__, module))


def _place(package: ModuleType) -> Path:
    assert package.__file__ is not None
    return Path(package.__file__).parent


def _imported(package: str, module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(package):
            yield from (f"{node.module}.{name.name}".split(".")[1] for name in node.names)
