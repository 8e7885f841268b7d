from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kvasir.engine import _digests
from kvasir.engine._digests import ChangedError, DigestCache, hub_digest, sha256_of
from kvasir.engine.weights import UnknownWeightsError, digest_of, digest_of_adapter, directory_of

LONG_AGO = time.time() - 1000


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where digests are kept during a test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kvasir" / "digests.json"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the time by which a file's last change is judged: change times cannot be set back."""
    real = time.time_ns

    def move(seconds: float) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: real() + int(seconds * 1e9))

    return move


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read, in order."""
    names: list[str] = []
    real = _digests._hash_one

    def noting(path: Path, stamp: str, progress: Any) -> Any:
        names.append(path.name)
        return real(path, stamp, progress)

    monkeypatch.setattr(_digests, "_hash_one", noting)
    return names


@pytest.fixture
def model(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    (place / "encoder").mkdir(parents=True)
    (place / "config.json").write_text('{"layers": 2}')
    (place / "a.safetensors").write_bytes(random.Random(1).randbytes(3 << 20))
    (place / "encoder" / "b.bin").write_bytes(b"b" * 100)
    (place / "tokenizer.json").write_text("{}")
    return place


def fresh() -> DigestCache:
    """What a process that has just started knows: only the file."""
    return DigestCache(Path(os.environ["XDG_CACHE_HOME"]) / "kvasir")


# ------------------------------------------------------------------------------------------------ what counts


def test_the_same_files_in_another_place_have_the_same_digest(model: Path, tmp_path: Path) -> None:
    assert digest_of(model) == digest_of(shutil.copytree(model, tmp_path / "elsewhere"))
    assert len(digest_of(model)) == 32


def test_the_digest_of_the_same_files_never_changes(model: Path) -> None:
    # Another one would make unreachable what engines have stored.
    assert digest_of(model).hex() == "8c12bea5f06e9734eac76767f01cfc95c3fe2b8cc75407560846f28fd774ae7f"


@pytest.mark.parametrize("offset", [0, 1_500_000, (3 << 20) - 1])
def test_every_byte_of_the_weights_counts(model: Path, offset: int) -> None:
    before = digest_of(model)
    with (model / "a.safetensors").open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))
    assert digest_of(model) != before


@pytest.mark.parametrize(
    "name", ["config.json", "a.safetensors", "encoder/b.bin", "model.safetensors.index.json", "modeling_own.py"]
)
def test_other_weights_configuration_and_code_are_another_model(model: Path, name: str) -> None:
    before = digest_of(model)
    with (model / name).open("ab") as file:
        file.write(b" ")
    assert digest_of(model) != before


@pytest.mark.parametrize(
    "name", ["tokenizer.json", "generation_config.json", "README.md", "optimizer.pt", "checkpoint-5/model.safetensors"]
)
def test_what_decides_about_no_key_or_value_does_not_count(model: Path, name: str) -> None:
    before = digest_of(model)
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_text("other")
    assert digest_of(model) == before


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UnknownWeightsError, match="holds no weights"):
        digest_of(tmp_path)


def test_a_file_that_cannot_be_read_is_refused(model: Path) -> None:
    (model / "c.safetensors").symlink_to(model / "nowhere")
    with pytest.raises(UnknownWeightsError, match=r"cannot be read.*c\.safetensors"):
        digest_of(model)


def test_a_folder_that_links_to_itself_ends(model: Path) -> None:
    before = digest_of(model)
    (model / "encoder" / "up").symlink_to(model)
    assert digest_of(model) == before


def test_a_model_that_is_nowhere_has_no_directory(model: Path) -> None:
    assert directory_of(str(model), None) == model
    assert directory_of("nobody/has-this", None) is None


def test_an_adapter_is_its_weights_and_configuration(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    (one / "adapter_config.json").write_text('{"r": 8}')
    (one / "adapter_model.safetensors").write_bytes(b"a" * 1000)
    shutil.copytree(one, other)
    (other / "optimizer.pt").write_bytes(b"a trainer's")
    (other / "trainer_state.json").write_text("{}")
    same = digest_of_adapter(str(one))
    assert digest_of_adapter(str(other)) == same
    (other / "adapter_model.safetensors").write_bytes(b"a" * 999 + b"b")
    assert digest_of_adapter(str(other)) != same
    with pytest.raises(UnknownWeightsError, match="not in the hub's cache"):
        digest_of_adapter(str(tmp_path / "third"))


# ------------------------------------------------------------------------------------------------ the hub's cache


def in_hub(model: Path, place: Path) -> Path:
    """The model as huggingface_hub keeps it: blobs by SHA-256, small ones by their id in git, and links."""
    repository = place / "models--someone--model"
    snapshot = repository / "snapshots" / ("c" * 40)
    (repository / "blobs").mkdir(parents=True)
    for file in (path for path in model.rglob("*") if path.is_file()):
        content = file.read_bytes()
        large = file.suffix != ".json"
        name = hashlib.sha256(content).hexdigest() if large else hashlib.sha256(content).hexdigest()[:40]
        shutil.copy(file, repository / "blobs" / name)
        link = snapshot / file.relative_to(model)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(repository / "blobs" / name, link.parent))
    return snapshot


def test_blobs_of_the_hub_are_named_and_not_read(model: Path, tmp_path: Path, hashed: list[str]) -> None:
    snapshot = in_hub(model, tmp_path / "hub")
    found = digest_of(snapshot)
    assert hashed == ["config.json"]
    assert digest_of(model) == found  # the same model in a folder


def test_only_a_blob_that_is_named_by_its_sha256_is_trusted(tmp_path: Path) -> None:
    name = hashlib.sha256(b"x").hexdigest()
    for place in ("models--a--b/blobs", "blobs", "models--a--b/other"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / name).write_bytes(b"y")
    good = tmp_path / "models--a--b" / "blobs"
    (good / name[:40]).write_bytes(b"y")
    links = []
    for number, target in enumerate([good / name, good / name[:40], tmp_path / "blobs" / name, good / ("0" * 64)]):
        links.append(tmp_path / f"link{number}")
        links[-1].symlink_to(target)
    assert [hub_digest(link) for link in links] == [bytes.fromhex(name), None, None, None]
    assert hub_digest(good / name) is None


# ------------------------------------------------------------------------------------------------ the cache


def test_a_file_is_hashed_once(model: Path, hashed: list[str], clock: Callable[[float], None]) -> None:
    clock(60)
    first = digest_of(model, cache=fresh())
    assert len(hashed) == 3
    assert digest_of(model, cache=fresh()) == first
    assert len(hashed) == 3


def test_a_file_that_was_just_written_is_hashed_again(model: Path, hashed: list[str]) -> None:
    os.utime(model / "a.safetensors", (LONG_AGO, LONG_AGO))  # its change time is that of this call
    first = digest_of(model, cache=fresh())
    assert digest_of(model, cache=fresh()) == first
    assert len(hashed) == 6


def test_times_of_whole_seconds_are_not_trusted(
    model: Path, hashed: list[str], clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(60)
    real = os.fstat

    def coarse(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        parts: Any = status.__reduce__()
        values, named = parts[1]
        seconds = named["st_ctime_ns"] // 10**9 * 10**9
        return os.stat_result(values, named | {"st_ctime_ns": seconds})

    monkeypatch.setattr(os, "fstat", coarse)
    digest_of(model, cache=fresh())
    digest_of(model, cache=fresh())
    assert len(hashed) == 6


@pytest.mark.parametrize("way", ["in place", "renamed over", "in place, time set back"])
def test_a_file_that_changed_is_hashed_again(
    model: Path, hashed: list[str], clock: Callable[[float], None], way: str
) -> None:
    clock(60)
    weights = model / "a.safetensors"
    before, status = digest_of(model, cache=fresh()), weights.stat()
    content = bytearray(weights.read_bytes())
    content[2_000_000] ^= 1
    if way == "renamed over":
        (model / "new").write_bytes(content)
        (model / "new").rename(weights)
    else:
        with weights.open("r+b") as file:
            file.write(content)
    if way != "in place":
        os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digest_of(model, cache=fresh()) != before
    assert hashed[3:] == ["a.safetensors"]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\x00" * 100,
        b'{"version": 1, "sha256": {"',
        b"[]",
        b'{"version": 1}',
        b'{"version": 1, "sha256": {"a": 7}}',
        b'{"version": 99, "sha256": {}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_cache_costs_time_only(
    model: Path, own_cache: Path, hashed: list[str], clock: Callable[[float], None], damage: bytes
) -> None:
    clock(60)
    first = digest_of(model, cache=fresh())
    own_cache.write_bytes(damage)
    assert digest_of(model, cache=fresh()) == first
    assert digest_of(model, cache=fresh()) == first
    assert len(hashed) == 6
    assert len(json.loads(own_cache.read_text())["sha256"]) == 3


def test_a_cache_that_cannot_be_written_costs_time_only(
    model: Path, hashed: list[str], clock: Callable[[float], None]
) -> None:
    clock(60)
    nowhere = Path("/proc/kvasir")
    assert digest_of(model, cache=DigestCache(nowhere)) == digest_of(model, cache=DigestCache(None))
    assert len(hashed) == 6


def test_the_cache_is_bounded_and_keeps_the_newest(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_digests, "_MOST_ENTRIES", 10)
    cache = fresh()
    for number in range(30):
        cache.add({str(number): bytes(32)})
    assert list(json.loads(own_cache.read_text())["sha256"]) == [str(number) for number in range(20, 30)]
    assert sorted(fresh().find([str(number) for number in range(30)])) == [str(number) for number in range(20, 30)]


PROCESS = """
import sys, time
from pathlib import Path
from kvasir.engine import _digests
real = time.time_ns
_digests.time.time_ns = lambda: real() + 60 * 10**9
inner = _digests._hash_one
def noting(path, stamp, progress):
    sys.stdout.write(f"hashed {path.name}\\n")  # in one piece: two threads hash
    return inner(path, stamp, progress)
_digests._hash_one = noting
from kvasir.engine.weights import digest_of
for line in sys.stdin:
    print(digest_of(Path(line.strip())).hex(), flush=True)
"""


def test_of_many_processes_at_once_one_reads_the_files(model: Path, own_cache: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", PROCESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    outputs: list[str] = []

    def ask(process: subprocess.Popen[str]) -> None:
        outputs.append(process.communicate(f"{model}\n", timeout=60)[0])

    threads = [threading.Thread(target=ask, args=(process,)) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [line for output in outputs for line in output.split("\n") if line]
    assert len({line for line in lines if not line.startswith("hashed")}) == 1
    assert len([line for line in lines if line.startswith("hashed")]) == 3
    assert len(json.loads(own_cache.read_text())["sha256"]) == 3


def test_of_many_writers_at_once_none_undoes_another() -> None:
    threads = [threading.Thread(target=lambda n=n: fresh().add({f"{n}": bytes([n]) * 32})) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fresh().find([f"{n}" for n in range(16)]) == {f"{n}": bytes([n]) * 32 for n in range(16)}


# ------------------------------------------------------------------------------------------------ hashing


def test_a_file_that_is_written_meanwhile_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = model / "a.safetensors"

    class Writing(_digests._Progress):
        def add(self, count: int) -> None:
            super().add(count)
            with weights.open("r+b") as file:
                file.write(b"other")

    monkeypatch.setattr(_digests, "_Progress", Writing)
    with pytest.raises(ChangedError, match="changed while it was read"):
        sha256_of([weights], cache=DigestCache(None))
    with pytest.raises(UnknownWeightsError, match="changed while it was read"):
        digest_of(model, cache=DigestCache(None))


def test_long_hashing_says_how_far_it_is(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_digests, "_WORTH_A_LINE", 1 << 20)
    monkeypatch.setattr(_digests, "_PROGRESS_SECONDS", 0.0)
    said: list[str] = []

    class Slow(_digests._Progress):
        def add(self, count: int) -> None:
            super().add(count)
            end = time.monotonic() + 20
            while "s to go" not in said[-1] and time.monotonic() < end:
                time.sleep(0.001)

    monkeypatch.setattr(_digests, "_Progress", Slow)
    sha256_of([model / "a.safetensors"], said.append, DigestCache(None))
    assert said[0].startswith("hashing 0.0 GB in 1 files of ")
    assert any("s to go" in line for line in said)
    assert said[-1].startswith("hashed 0.0 GB in ")


def test_digests_are_those_of_sha256(model: Path) -> None:
    paths = [model / "a.safetensors", model / "config.json", model / "encoder" / "b.bin"]
    assert sha256_of(paths, cache=DigestCache(None)) == [hashlib.sha256(path.read_bytes()).digest() for path in paths]


def test_a_process_that_ends_does_not_wait_for_its_hashing(model: Path) -> None:
    code = (
        PROCESS.partition("for line")[0]
        + f"""
import threading
reading = threading.Event()
def endless(path, stamp, progress):
    reading.set()
    threading.Event().wait()
_digests._hash_one = endless
threading.Thread(target=digest_of, args=(Path({str(model)!r}),), daemon=True).start()
assert reading.wait(20)
"""
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
