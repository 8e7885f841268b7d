"""What a suite is given: how often to measure, where to put files, whom to tell. The command makes one for a run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Concatenate, ParamSpec

from kvasir_bench.records import Record

P = ParamSpec("P")


@dataclass
class Context:
    """Settings and places of one run of the command.

    Attributes:
        home: the repository, with the launcher ``kvasir``.
        runs: how many times each thing is measured; the record has the median.
        seed: of everything random.
        kills: how many times the suite ``restart`` kills the node.
        resume: where it keeps its kills and goes on from; None: nowhere.
        install_system: whether system packages may be installed.
        directory: on disk, empty, removed at the end.
        shared_memory: in /dev/shm, empty, removed at the end.
        say: tells the user where the run is.
        skipped: what could not run, and why.
        seconds: how long the suite ``hostile`` attacks the node.
        histories: how many the suite ``space`` goes through.
        strategies: of the suite ``hostile``; all of them when there is none.
        control: whether the suite ``hostile`` has its control, without which its times say nothing.
        objects: how many objects the suite ``objects`` puts on the SSD.
        broken: what must hold at any time and did not.
    """

    home: Path
    runs: int
    seed: int
    kills: int
    install_system: bool
    directory: Path
    shared_memory: Path
    say: Callable[[str], None]
    skipped: dict[str, str] = field(default_factory=dict)
    resume: Path | None = None
    seconds: float = 60.0
    histories: int = 100
    strategies: tuple[str, ...] = ()
    control: bool = True
    objects: int = 10_000_000
    broken: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.runs < 1 or self.kills < 1:
            raise ValueError(f"runs and kills must be at least 1; seen: {self.runs} and {self.kills}")

    def skip(self, what: str, why: str) -> None:
        """Notes that something could not run; the command shows it again at the end."""
        self.skipped[what] = why
        self.say(f"{what}: {why}")

    def violated(self, what: str, why: str) -> None:
        """Notes that something which must hold at any time did not; the command's exit status says so."""
        self.broken[what] = why

    def part(
        self,
        what: str,
        measure: Callable[Concatenate[Context, P], Record | Iterable[Record]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Generator[Record, None, None]:
        """One part of a suite: the records of ``measure``. When it fails, the other parts of the suite still run."""
        try:
            made = measure(self, *args, **kwargs)
            if isinstance(made, Record):
                yield made
            else:
                yield from made
        except Exception as error:
            self.skip(what, f"{type(error).__name__}: {error}")


@contextmanager
def temporary_places(parent: Path | None) -> Iterator[tuple[Path, Path]]:
    """A directory on disk and one in /dev/shm; both are gone afterwards, also after Ctrl-C and SIGTERM."""
    directory = Path(tempfile.mkdtemp(prefix="kvasir-bench-", dir=parent))
    try:
        shared_memory = Path(tempfile.mkdtemp(prefix="kvasir-bench-", dir="/dev/shm"))
        try:
            yield directory, shared_memory
        finally:
            shutil.rmtree(shared_memory, ignore_errors=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
