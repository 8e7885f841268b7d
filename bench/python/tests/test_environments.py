"""Environments: made once, made again when their contents change, and unavailable with pip's own words."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kvasir_bench.environments import Environment, EnvironmentUnavailableError, pins, prepare


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def package(tmp_path: Path) -> Callable[[str, str], str]:
    """Makes a wheel of one module, which pip installs without a registry."""

    def make(name: str, word: str) -> str:
        place = tmp_path / word
        place.mkdir(exist_ok=True)
        version = len(word)  # pip leaves alone what is there in the same version
        information = f"{name}-{version}.dist-info"
        files = {
            f"{name}.py": f"WORD = {word!r}\n",
            f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{information}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(f"{file},,\n" for file in [*files, f"{information}/RECORD"])
        with zipfile.ZipFile(place / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            for file, text in (files | {f"{information}/RECORD": record}).items():
                wheel.writestr(file, text)
        return str(place / f"{name}-{version}-py3-none-any.whl")

    return make


def said(python: Path, code: str) -> str:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def environment(name: str, package: str, base: Environment | None = None) -> Environment:
    return Environment(name, name, (("--no-index", package),), "little", base)


@pytest.mark.slow
def test_environment_sees_its_base_and_its_own_packages_first(package: Callable[[str, str], str]) -> None:
    base = environment("base", package("shared_thing", "base"))
    top = environment("top", package("own_thing", "top"), base)
    python = prepare(top, print)
    assert said(python, "import shared_thing, own_thing; print(shared_thing.WORD, own_thing.WORD)") == "base top"
    over = environment("over", package("shared_thing", "newer"), base)
    assert said(prepare(over, print), "import shared_thing; print(shared_thing.WORD)") == "newer"
    assert said(python, "import shared_thing; print(shared_thing.WORD)") == "base"


@pytest.mark.slow
def test_environment_is_made_once_by_many_callers_and_again_for_other_contents(
    package: Callable[[str, str], str],
) -> None:
    first = environment("once", package("thing", "first"))
    words: list[str] = []
    with ThreadPoolExecutor(3) as pool:
        pythons = set(pool.map(lambda _: prepare(first, words.append), range(3)))
    assert len(pythons) == 1
    assert sum("making its environment" in word and "another" not in word for word in words) == 1
    second = environment("once", package("thing", "second"))
    assert said(prepare(second, print), "import thing; print(thing.WORD)") == "second"


@pytest.mark.slow
def test_failed_install_says_what_pip_said_and_leaves_nothing_that_looks_ready() -> None:
    broken = Environment("broken", "broken", (("--no-index", "no-such-package==1"),), "little")
    for _ in range(2):
        with pytest.raises(EnvironmentUnavailableError, match="no-such-package"):
            prepare(broken, print)


def test_pins_leave_out_comments(tmp_path: Path) -> None:
    file = tmp_path / "pins.txt"
    file.write_text("# why\na==1  # because\n\nb==2\n")
    assert pins(file) == ("a==1", "b==2")
