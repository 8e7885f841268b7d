"""The Java programs of the folder ``bench``: JMH benchmarks, jcstress tests, and a maker of SSD directories.

No build contains them, since nothing of them is shipped; they are compiled when they are asked for.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from kvasir_ops.build_lock import build_lock

BUILD = ("./mvnw", "-B", "-ntp", "-q", "-Pbench", "-pl", "bench", "-am", "compile")


class JavaBenchError(Exception):
    """The programs cannot be compiled; the message says why."""


def prepare(home: Path, say: Callable[[str], None]) -> JavaBench:
    """Compiles what has changed. Raises JavaBenchError."""
    say("compiling the folder bench")
    with build_lock(home):
        done = subprocess.run(BUILD, cwd=home, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        problems = [line for line in done.stdout.splitlines() if line.startswith("[ERROR]")]
        raise JavaBenchError("the folder bench cannot be compiled:\n" + "\n".join(problems[:20] or [done.stderr]))
    return JavaBench(home)


class JavaBench:
    """The compiled programs."""

    def __init__(self, home: Path) -> None:
        target = home / "bench" / "target"
        self._flags = (f"@{home / 'ops' / 'jvm.args'}",)
        self._class_path = f"{target / 'classes'}{os.pathsep}{(target / 'classpath.txt').read_text().strip()}"

    def command(self, program: str, *arguments: str, flags: Sequence[str] = (), usual: bool = True) -> list[str]:
        """The command line of a class with a main method. ``JAVA_HOME`` names the JDK, as the launcher sets it.

        Args:
            program: the class.
            arguments: for it.
            flags: of the JVM.
            usual: also the flags that every Kvasir process has.
        """
        java = Path(os.environ["JAVA_HOME"], "bin", "java") if "JAVA_HOME" in os.environ else Path("java")
        return [os.fspath(java), *(self._flags if usual else ()), *flags, "-cp", self._class_path, program, *arguments]
