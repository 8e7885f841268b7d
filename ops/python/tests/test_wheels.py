"""The packages as a user gets them: wheels, built and installed where nothing of this checkout is on the path."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kvasir_ops import home

PACKAGES = {
    "kvasir-client": ("client", "kvasir"),
    "kvasir-vllm": ("connector-vllm", "kvasir_vllm"),
    "kvasir-sglang": ("connector-sglang", "kvasir_sglang"),
    "kvasir-router": ("router", "kvasir_router"),
}
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")

# What an installed package says of itself, whether the license's text came along, and the mark of typed packages.
ASK = """
import importlib, importlib.metadata, json, pathlib, sys
found = {}
for name, module in json.loads(sys.argv[1]).items():
    data = importlib.metadata.metadata(name)
    place = pathlib.Path(importlib.import_module(module).__file__).parent
    texts = [file for file in importlib.metadata.files(name) if file.name == "LICENSE"]
    licence = data["License-Expression"] if texts and "Apache License" in texts[0].read_text() else "no text"
    found[name] = [data["Version"], licence, (place / "py.typed").is_file(), str(place)]
print(json.dumps(found))
"""

pytestmark = [pytest.mark.slow, pytest.mark.integration, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of each package; that of the client is what the others ask for."""
    place = tmp_path_factory.mktemp("wheels")
    for folder, _ in PACKAGES.values():
        run(sys.executable, *PIP, "wheel", "--no-deps", "--wheel-dir", place, home() / folder)
    return place


def test_all_packages_install_side_by_side_and_say_what_they_are(wheels: Path, tmp_path: Path) -> None:
    python = environment(tmp_path, wheels, *PACKAGES)
    found = json.loads(run(python, "-c", ASK, json.dumps({name: module for name, (_, module) in PACKAGES.items()})))
    for name, (version, licence, typed, place) in found.items():
        assert version == "0.1.0", name
        assert licence == "Apache-2.0", name
        assert typed, name
        assert Path(place).is_relative_to(tmp_path), name
    assert "usage:" in run(tmp_path / "venv" / "bin" / "kvasir-router", "--help")


def test_a_connector_needs_its_own_dependencies_alone(wheels: Path, tmp_path: Path) -> None:
    # Beside an engine: what it brings along must not change the engine's web server or YAML.
    python = environment(tmp_path, wheels, "kvasir-vllm")
    listed = {line.split("==")[0].lower() for line in run(python, "-m", "pip", "list", "--format", "freeze").split()}
    assert listed - {"pip", "setuptools"} == {"kvasir-client", "kvasir-vllm", "numpy", "protobuf"}


def environment(place: Path, wheels: Path, *names: str) -> Path:
    """A fresh environment with these packages; its Python."""
    run(sys.executable, "-m", "venv", place / "venv")
    python = place / "venv" / "bin" / "python"
    run(python, *PIP, "install", "--find-links", wheels, *names)
    return python


def run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr or done.stdout
    return done.stdout
