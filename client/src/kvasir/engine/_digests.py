"""SHA-256 of whole files: on several threads, with progress, and computed once for as long as a file stays the same.

Called by :mod:`kvasir.engine.weights`. SHA-256 because the Hugging Face cache names its blobs by it, so that a model in
that cache and a copy of it in a folder have one identity; :mod:`hashlib` computes it without Python's lock.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

Say = Callable[[str], None]
_Hashed = tuple[bytes, os.stat_result]

_BUFFER_BYTES: Final = 4 << 20
#: More threads than this seldom make a disk faster, and the engine beside them has work to do.
_MOST_THREADS: Final = 8
_PROGRESS_SECONDS: Final = 10.0
#: Files below this are hashed without a line in the log.
_WORTH_A_LINE: Final = 1 << 30
#: A file that was written less than this before it was looked at may change again within one tick of its clock.
_RECENT_NS: Final = 5_000_000_000
_MOST_ENTRIES: Final = 4096
_MOST_CACHE_BYTES: Final = 4 << 20
_FILE: Final = "digests.json"
_VERSION: Final = 1
#: Another process that hashes the same files is waited for this long at most.
_LONGEST_WAIT_SECONDS: Final = 1800.0
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class ChangedError(OSError):
    """A file changed while it was read, so that there is no telling which bytes an engine got."""


def stamp_of(status: os.stat_result) -> str:
    """What changes whenever a file's content does: device, inode, size, and both times in nanoseconds."""
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def _lasting(status: os.stat_result, now_ns: int) -> bool:
    """Whether another content would have another stamp.

    Not where the file was written a moment ago (two writes in one tick), nor where times are whole seconds: images and
    network file systems that make them up give another file the same ones.
    """
    latest = max(status.st_mtime_ns, status.st_ctime_ns)
    return latest < now_ns - _RECENT_NS and status.st_ctime_ns % 1_000_000_000 != 0


def hub_digest(path: Path) -> bytes | None:
    """The SHA-256 that the Hugging Face cache has in a blob's name; None where it has none (small files, folders).

    This trusts that nobody has written into the cache's blobs, as huggingface_hub does.
    """
    if not path.is_symlink():
        return None
    blob = path.resolve()
    in_cache = blob.parent.name == "blobs" and blob.parent.parent.name.startswith("models--")
    return bytes.fromhex(blob.name) if in_cache and _SHA256.fullmatch(blob.name) and blob.is_file() else None


class DigestCache:
    """Digests of files by their stamps, in one small file that all processes of a user share.

    A cache that is missing, damaged, not ours, or not writable costs the time of hashing and nothing else.

    Args:
        directory: of the file; made when it is needed. None: nothing is kept beyond this process.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._known: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def find(self, stamps: Sequence[str]) -> dict[str, bytes]:
        """Those that are known."""
        with self._lock:
            found = {stamp: self._known[stamp] for stamp in stamps if stamp in self._known}
            if len(found) < len(set(stamps)):
                read = self._read()
                found |= {stamp: read[stamp] for stamp in stamps if stamp in read}
                self._remember(found)
        return found

    def add(self, digests: Mapping[str, bytes]) -> None:
        """Keeps these, and of the others the newest."""
        if not digests:
            return
        with self._lock:
            self._remember(digests)
            with suppress(OSError), self.exclusive("digests.lock"):
                kept = {stamp: digest for stamp, digest in self._read().items() if stamp not in digests} | dict(digests)
                self._write(dict(list(kept.items())[-_MOST_ENTRIES:]))

    @contextmanager
    def exclusive(self, name: str, seconds: float = 5.0, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """One thread of all processes at a time; goes on without after ``seconds``, or where there are no locks.

        Args:
            name: of a file beside the cache.
            seconds: the most to wait for another one.
            waiting: called once, when there is another one.
        """
        descriptor = -1
        if self._directory is not None:
            with suppress(OSError):
                self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                descriptor = os.open(self._directory / name, flags, 0o600)
        end = time.monotonic() + seconds
        told = False
        try:
            while descriptor >= 0 and not _locked(descriptor) and time.monotonic() < end:
                if not told:
                    told = True
                    waiting()
                time.sleep(0.05)
            yield
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _remember(self, digests: Mapping[str, bytes]) -> None:
        self._known |= digests
        while len(self._known) > _MOST_ENTRIES:
            del self._known[next(iter(self._known))]

    def _read(self) -> dict[str, bytes]:
        if self._directory is None:
            return {}
        try:
            descriptor = os.open(self._directory / _FILE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            with open(descriptor, "rb") as file:
                if os.fstat(descriptor).st_uid != os.geteuid():
                    return {}
                told = json.loads(file.read(_MOST_CACHE_BYTES))
            entries = told["sha256"] if told["version"] == _VERSION else {}
            return {str(stamp): bytes.fromhex(text) for stamp, text in entries.items() if _SHA256.fullmatch(text)}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return {}

    def _write(self, digests: Mapping[str, bytes]) -> None:
        if self._directory is None:
            return
        entries = {stamp: digest.hex() for stamp, digest in digests.items()}
        temporary = self._directory / f"{_FILE}.new"
        temporary.unlink(missing_ok=True)  # of a process that was killed; nobody else writes while this one does
        with temporary.open("x", encoding="utf-8") as file:
            json.dump({"version": _VERSION, "sha256": entries}, file, indent=0)
        temporary.replace(self._directory / _FILE)


def _locked(descriptor: int) -> bool:
    """Takes the lock; False: another open file has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # no locks on this file system
    return True


@functools.lru_cache(maxsize=16)
def _cache_in(directory: Path | None) -> DigestCache:
    return DigestCache(directory)


def default_cache() -> DigestCache:
    """That of this user: ``$XDG_CACHE_HOME/kvasir`` or ``~/.cache/kvasir``."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return _cache_in((Path(base) if base else Path.home() / ".cache") / "kvasir")
    except RuntimeError:  # a user without a home
        return _cache_in(None)


def sha256_of(paths: Sequence[Path], say: Say = lambda _: None, cache: DigestCache | None = None) -> list[bytes]:
    """SHA-256 of each file's whole content.

    Args:
        paths: of files.
        say: gets a line when it takes long, and one every ten seconds.
        cache: None: the user's.

    Raises:
        ChangedError: a file was written meanwhile.
        OSError: a file cannot be read.
    """
    cache = cache or default_cache()
    digests: dict[Path, bytes] = {}
    stamps: dict[Path, str] = {}
    for path in paths:
        named = hub_digest(path)
        if named is not None:
            digests[path] = named
        else:
            stamps[path] = _stamp(path)

    def look() -> list[Path]:
        known = cache.find(list(stamps.values()))
        digests.update({path: known[stamp] for path, stamp in stamps.items() if stamp in known})
        return [path for path in stamps if path not in digests]

    missing = look()
    if missing:
        # Ranks of one engine start together and have the same files: one of them reads those.
        stripe = hashlib.sha256(os.fsencode(missing[0].resolve())).hexdigest()[0]
        with cache.exclusive(
            f"digests-{stripe}.lock",
            _LONGEST_WAIT_SECONDS,
            lambda: say(f"another process hashes {missing[0].parent} or another folder; waiting for it"),
        ):
            missing = look()
            if missing:
                _hash({path: stamps[path] for path in missing}, digests, say, cache)
    return [digests[path] for path in paths]


def _stamp(path: Path) -> str:
    # Opened, since a network file system answers stat from memory until then.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return stamp_of(os.fstat(descriptor))
    finally:
        os.close(descriptor)


def _hash(stamps: Mapping[Path, str], digests: dict[Path, bytes], say: Say, cache: DigestCache) -> None:
    paths = list(stamps)
    total = sum(path.stat().st_size for path in paths)
    threads = max(1, min(len(os.sched_getaffinity(0)), _MOST_THREADS, len(paths)))
    progress = _Progress()
    lasting: dict[str, bytes] = {}
    begin = time.monotonic()
    if total >= _WORTH_A_LINE:
        say(f"hashing {_gb(total)} in {len(paths)} files of {paths[0].parent}, {threads} at a time; once for each file")
    waiting = deque((Future[_Hashed](), path) for path in sorted(paths, key=_size, reverse=True))
    running = dict(waiting)

    def work() -> None:
        with suppress(IndexError):
            while not progress.stopped:
                future, path = waiting.popleft()
                try:
                    future.set_result(_hash_one(path, stamps[path], progress))
                except BaseException as error:
                    future.set_exception(error)

    # Daemons: a process that ends does not wait until a terabyte is read.
    workers = [threading.Thread(target=work, name="kvasir-hash", daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        while _goes_on(running):
            done, seconds = progress.bytes, time.monotonic() - begin
            left = f"about {(total - done) / done * seconds:.0f} s to go" if done else "nothing was read yet"
            say(f"hashed {_gb(done)} of {_gb(total)} in {seconds:.0f} s, {left}")
        for future, path in running.items():
            digest, status = future.result()
            digests[path] = digest
            if _lasting(status, time.time_ns()):
                lasting[stamp_of(status)] = digest
    finally:
        progress.stopped = True
        for worker in workers:
            worker.join()
    cache.add(lasting)
    if total >= _WORTH_A_LINE:
        say(f"hashed {_gb(total)} in {time.monotonic() - begin:.1f} s")


def _goes_on(running: Mapping[Future[_Hashed], Path]) -> bool:
    """Waits a while; False once all have ended. Raises what one of them raised."""
    ended, rest = wait(running, _PROGRESS_SECONDS, FIRST_EXCEPTION)
    for future in ended:
        future.result()
    return bool(rest)


class _Progress:
    """Of all threads together."""

    def __init__(self) -> None:
        self.stopped = False
        self.bytes = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self.bytes += count


def _hash_one(path: Path, stamp: str, progress: _Progress) -> _Hashed:
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    with path.open("rb", buffering=0) as file:
        while not progress.stopped and (count := file.readinto(buffer)):
            digest.update(buffer[:count])
            progress.add(count)
        after = os.fstat(file.fileno())
    if not stamp == stamp_of(after) == _stamp(path):
        raise ChangedError(f"{path} changed while it was read")
    return digest.digest(), after


def _size(path: Path) -> int:
    return path.stat().st_size


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
