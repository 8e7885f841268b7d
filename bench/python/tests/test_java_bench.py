"""The benchmarks' Java programs are compiled once for the same sources, and no later build changes what runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kvasir_bench.java_bench import MODULES, JavaBenchError, prepare

# Instead of Maven: the "classes" are the sources, and each call is counted.
BUILD = """#!/bin/sh
echo called >>calls
[ ! -e broken ] || { echo "[ERROR] cannot find symbol"; exit 1; }
for module in storage transport node bench; do
    mkdir -p $module/target/classes && cp -r $module/src/main/. $module/target/classes/
done
printf '%s' "$PWD/storage/target/classes:$PWD/transport/target/classes:$PWD/node/target/classes:/jars/jmh.jar" \
    >bench/target/classpath.txt
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for module in MODULES:
        (tmp_path / module / "src" / "main").mkdir(parents=True)
        (tmp_path / module / "src" / "main" / "A.java").write_text(f"{module}, 1")
        (tmp_path / module / "pom.xml").touch()
    (tmp_path / "pom.xml").touch()
    (tmp_path / "mvnw").write_text(BUILD)
    (tmp_path / "mvnw").chmod(0o755)
    return tmp_path


def class_path(home: Path) -> list[Path]:
    command = prepare(home, print).command("io.kvasir.bench.Some")
    return [Path(entry) for entry in command[command.index("-cp") + 1].split(os.pathsep)]


def test_the_classes_of_all_modules_are_copied_and_jars_are_used_where_they_are(home: Path) -> None:
    *classes, jar = class_path(home)
    assert [(entry / "A.java").read_text() for entry in classes] == [
        "bench, 1",
        "storage, 1",
        "transport, 1",
        "node, 1",
    ]
    assert all(entry.is_relative_to(home / ".kvasir" / "bench") for entry in classes)
    assert jar == Path("/jars/jmh.jar")


def test_equal_sources_are_compiled_once(home: Path) -> None:
    assert class_path(home) == class_path(home)
    assert (home / "calls").read_text() == "called\n"


def test_a_later_build_of_other_sources_leaves_what_runs(home: Path) -> None:
    running = class_path(home)
    (home / "node" / "src" / "main" / "A.java").write_text("node, 2")
    assert [(entry / "A.java").read_text() for entry in class_path(home)[:4]][3] == "node, 2"
    assert (running[3] / "A.java").read_text() == "node, 1"


def test_sources_that_do_not_compile_are_told_and_leave_nothing(home: Path) -> None:
    (home / "broken").touch()
    with pytest.raises(JavaBenchError, match="cannot find symbol"):
        prepare(home, print)
    assert not list((home / ".kvasir").glob("bench/*"))


def test_a_program_like_a_node_has_all_flags_of_a_node(home: Path) -> None:
    command = prepare(home, print).like_a_node("io.kvasir.bench.Some", "x")
    assert command[1:3] == [f"@{home}/ops/jvm.args", f"@{home}/ops/node.jvm.args"]
    assert command[-2:] == ["io.kvasir.bench.Some", "x"]
