"""The launcher: what it says when it is used wrongly or misses something. Nothing is built here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[3]


def kvasir(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [os.fspath(HOME / "kvasir"), *arguments],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_names_every_command() -> None:
    shown = kvasir("--help")
    assert shown.returncode == 0
    for command in ("node", "doctor", "demo", "bench", "test", "build"):
        assert f"\n  {command} " in shown.stdout


def test_no_command_is_an_error_that_shows_the_help() -> None:
    shown = kvasir()
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "Usage:" in shown.stderr


@pytest.mark.parametrize(("typed", "meant"), [("bnech", "bench"), ("docter", "doctor"), ("tests", "test")])
def test_unknown_command_names_the_nearest(typed: str, meant: str) -> None:
    shown = kvasir(typed)
    assert shown.returncode == 2
    assert f"Did you mean '{meant}'?" in shown.stderr


def test_unknown_command_without_a_near_one_lists_all() -> None:
    shown = kvasir("xyzzy")
    assert shown.returncode == 2
    assert "Did you mean" not in shown.stderr
    assert "doctor" in shown.stderr


def test_without_a_jdk_it_says_what_to_install(tmp_path: Path) -> None:
    # The usual places of this machine are not used when the search list names this one only.
    shown = kvasir("node", JAVA_HOME="", KVASIR_BUILD="", KVASIR_JDK_PLACES=os.fspath(tmp_path))
    assert shown.returncode == 1
    assert "no JDK 25 found" in shown.stderr
    assert "JAVA_HOME" in shown.stderr


def test_jdk_of_another_version_is_not_taken(tmp_path: Path) -> None:
    jdk = tmp_path / "jdk-17"
    (jdk / "bin").mkdir(parents=True)
    (jdk / "bin" / "javac").touch(mode=0o755)
    (jdk / "release").write_text('JAVA_VERSION="17.0.9"\n')
    shown = kvasir("node", JAVA_HOME=os.fspath(jdk), KVASIR_BUILD="", KVASIR_JDK_PLACES=os.fspath(tmp_path))
    assert shown.returncode == 1
    assert "no JDK 25 found" in shown.stderr


def test_python_that_does_not_answer_is_passed_over(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    shown = kvasir("nothing", KVASIR_PYTHON=os.fspath(old), PATH=f"{tmp_path}:/usr/bin:/bin")
    # An interpreter that does not answer is passed over for one that does.
    assert shown.returncode == 2
