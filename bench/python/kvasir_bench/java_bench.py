"""The Java programs of the folder ``bench``: those behind suites of ``kvasir bench``, JMH, jcstress.

No build of a node contains them, since nothing of them is shipped. They are compiled when they are asked for, into a
folder of their own, ``.kvasir/bench/<hash of the sources>``, that nothing changes afterwards: what runs from it is not
disturbed by a build of other sources.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from kvasir_bench.build_lock import build_lock

BUILD = ("./mvnw", "-B", "-ntp", "-q", "-Pbench", "-pl", "bench", "-am", "compile")
# bench, and what it depends on.
MODULES = ("storage", "transport", "node", "bench")
KEPT_BUILDS = 2
CLASS_PATH = "class-path"


class JavaBenchError(Exception):
    """The programs cannot be compiled; the message says why."""


def prepare(home: Path, say: Callable[[str], None]) -> JavaBench:
    """The programs of these sources, compiled when they are not there. Raises JavaBenchError."""
    place = home / ".kvasir" / "bench" / _fingerprint(home)
    if not (place / CLASS_PATH).exists():
        with build_lock(home):
            if not (place / CLASS_PATH).exists():
                say("compiling the Java programs of the folder bench")
                _compile(home, place)
    return JavaBench(home, (place / CLASS_PATH).read_text(encoding="utf-8"))


def _fingerprint(home: Path) -> str:
    digest = hashlib.sha256()
    for source in _sources(home):
        digest.update(f"{source.relative_to(home)}\n".encode())
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _sources(home: Path) -> Iterator[Path]:
    yield home / "pom.xml"
    for module in MODULES:
        yield home / module / "pom.xml"
        yield from sorted(path for path in (home / module / "src" / "main").rglob("*") if path.is_file())


def _compile(home: Path, place: Path) -> None:
    done = subprocess.run(BUILD, cwd=home, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        problems = [line for line in done.stdout.splitlines() if line.startswith("[ERROR]")]
        raise JavaBenchError("the folder bench cannot be compiled:\n" + "\n".join(problems[:20] or [done.stderr]))
    target = home / "bench" / "target"
    listed = (target / "classpath.txt").read_text(encoding="utf-8").strip().split(os.pathsep)
    making = place.with_name(f"{place.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    class_path = []
    for entry in (target / "classes", *map(Path, listed)):
        if entry.is_relative_to(home):  # the classes of a module, which the next build changes
            module = entry.relative_to(home).parts[0]
            shutil.copytree(entry, making / module)
            class_path.append(place / module)
        else:
            class_path.append(entry)
    (making / CLASS_PATH).write_text(os.pathsep.join(map(os.fspath, class_path)), encoding="utf-8")
    making.rename(place)
    builds = sorted(place.parent.iterdir(), key=lambda build: build.stat().st_mtime, reverse=True)
    for old in builds[KEPT_BUILDS:]:
        shutil.rmtree(old, ignore_errors=True)


class JavaBench:
    """The compiled programs."""

    def __init__(self, home: Path, class_path: str) -> None:
        self._usual = f"@{home / 'ops' / 'jvm.args'}"
        self._node = f"@{home / 'ops' / 'node.jvm.args'}"
        self._class_path = class_path

    def command(self, program: str, *arguments: str, flags: Sequence[str] = (), usual: bool = True) -> list[str]:
        """The command line of a class with a main method. ``JAVA_HOME`` names the JDK, as the launcher sets it.

        Args:
            program: the class.
            arguments: for it.
            flags: of the JVM.
            usual: also the flags that every Kvasir process has.
        """
        java = Path(os.environ["JAVA_HOME"], "bin", "java") if "JAVA_HOME" in os.environ else Path("java")
        given = [*([self._usual] if usual else []), *flags]
        return [os.fspath(java), *given, "-cp", self._class_path, program, *arguments]

    def like_a_node(self, program: str, *arguments: str) -> list[str]:
        """The command line of a class with a main method, in a JVM with all flags of a node's."""
        return self.command(program, *arguments, flags=[self._node])
