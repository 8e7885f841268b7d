"""Who may import whom: the storage and the linker meet in ``shared`` alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import kvasir_sglang

PACKAGE = Path(kvasir_sglang.__file__).parent
#: Which other folders of the package the modules of each folder import.
MAY_IMPORT = {"shared": set(), "storage": {"shared"}, "linker": {"shared"}}


def imported(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kvasir_sglang"):
            yield from (f"{node.module}.{name.name}".split(".")[1] for name in node.names)


def test_every_folder_is_named_here() -> None:
    assert {place.parent.name for place in PACKAGE.glob("*/__init__.py")} == set(MAY_IMPORT)


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_folder_imports_what_it_may(folder: str) -> None:
    for module in (PACKAGE / folder).rglob("*.py"):
        assert set(imported(module)) <= MAY_IMPORT[folder] | {folder}, module
