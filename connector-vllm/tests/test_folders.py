"""Who may import whom: the two halves of the connector meet in ``shared`` alone."""

from __future__ import annotations

import pytest
from kvasir_ops.folders import folders, imports

import kvasir_vllm

#: Which other folders of the package the modules of each folder import.
MAY_IMPORT = {
    "shared": set(),
    "scheduler": {"shared"},
    "worker": {"shared"},
    "tiering": {"shared"},
    "doctor": {"shared"},
}


def test_every_folder_is_named_here() -> None:
    assert folders(kvasir_vllm) == set(MAY_IMPORT)


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_folder_imports_what_it_may(folder: str) -> None:
    for module, imported in imports(kvasir_vllm, folder):
        assert imported <= MAY_IMPORT[folder] | {folder}, module
