"""The conformance test of the engine API: a client in Go, written from the page and the schema, against a real node.

Usage: python -m kvasir_bench.checks.conformance JUNIT_FILE
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite
from kvasir import Client, Namespace
from kvasir_ops import home
from kvasir_ops.testing import MIB, Node

FOLDER = Path("client/conformance")
SCHEMAS = Path("node/src/main/proto")
SCHEMA = "kvasir/engine/v1/engine.proto"
# The package of the schema's go_package is inside the module.
MODULE = "kvasir"
DRAM = 128 * MIB
# Small, so that each size of object has its own.
REGION = 4 * MIB
# Less than a quarter of DRAM, so that the quota ends before the space does.
SETTINGS = {"reserve": {"quota": "8MiB"}}
GO_TEST_SECONDS = 420
COMMAND_SECONDS = 300.0
DOWNLOAD_SECONDS = 180.0
DEADLINE_SECONDS = 30.0
OTHER_LANGUAGE = "^TestOtherLanguage$"
# What both clients store in; other_test.go has the same.
SHARED = Namespace(
    "modèle",
    chunk_tokens=256,
    weights_digest=b"\x00\xff",
    hash_algorithm="sha256",
    hash_seed="7",
    kv_dtype="bf16",
    layout="opaque",
    generation=(1 << 63) + 1,
    extra={"b": "2", "a": "", "é": "3"},
)


def unavailable(root: Path) -> str:
    """Why it cannot run here; empty when it can. Fetches the client's Go modules when they are not there."""
    if shutil.which("go") is None:
        return "Go is not installed (https://go.dev/dl, or Debian, Ubuntu: apt install golang-go)"
    try:
        fetched = subprocess.run(
            ["go", "mod", "download"], cwd=root / FOLDER, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"its Go modules were not fetched in {DOWNLOAD_SECONDS:.0f} s"
    return "" if fetched.returncode == 0 else f"its Go modules cannot be fetched: {fetched.stderr.strip()[-300:]}"


@dataclass
class Told:
    """One test of ``go test -json``."""

    outcome: str = ""
    seconds: float = 0.0
    output: list[str] = field(default_factory=list)


def cases(told: Mapping[str, Told]) -> list[TestCase]:
    """A case for each test. One that has subtests counts by itself only when it failed and none of them did."""
    found = []
    for name, test in told.items():
        subtests = [other for other in told if other.startswith(f"{name}/")]
        if subtests and (test.outcome == "pass" or any(told[other].outcome == "fail" for other in subtests)):
            continue
        case = TestCase(name, "conformance", test.seconds)
        if test.outcome == "skip":
            case.result = [Skipped("".join(test.output).strip())]
        elif test.outcome != "pass":
            case.result = [Failure(f"{test.outcome or 'did not end'}\n{''.join(test.output)}")]
        found.append(case)
    return found


def collect(lines: Iterable[str], told: dict[str, Told]) -> None:
    """Reads what ``go test -json`` writes, and prints what it says of failures and at the end."""
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            print(line, end="", flush=True)
            continue
        name = event.get("Test", "")
        output = event.get("Output", "")
        if not name:
            print(output, end="", flush=True)
            continue
        test = told.setdefault(name, Told())
        if event["Action"] == "output":
            test.output.append(output)
        elif event["Action"] in ("pass", "fail", "skip"):
            test.outcome, test.seconds = event["Action"], event.get("Elapsed", 0.0)
            print(f"{test.outcome} {name} ({test.seconds:.2f} s)", flush=True)
            if test.outcome == "fail":
                print("".join(test.output), end="", flush=True)


def bytes_of(key: bytes, length: int) -> bytes:
    """An object's bytes, made from its key: SHA-256 of the key and a counter, one after the other."""
    blocks = -(-length // 32)
    made = b"".join(hashlib.sha256(key + counter.to_bytes(8, "little")).digest() for counter in range(blocks))
    return made[:length]


class Conformance:
    """One run; owns the node. The restarts happen on the thread that makes this, since the node dies with it."""

    def __init__(self, root: Path, scratch: Path, node: Node) -> None:
        self._folder = root / FOLDER
        self._root = root
        self._scratch = scratch
        self._node = node
        self.suite = TestSuite("conformance (Go)")

    def run(self) -> None:
        """Fills the suite; raises nothing of what a check finds."""
        self._check("gofmt", self._unformatted)
        if not self._check("the schema as Go", self._generate) or not self._check("go vet", self._vet):
            return
        self._python_stores()
        self._go_tests("-run", OTHER_LANGUAGE)
        self._check("the Python client loads what Go stored", self._python_loads)
        self._go_tests("-skip", OTHER_LANGUAGE)

    def _check(self, name: str, check: Callable[[], str]) -> bool:
        case = TestCase(name, "conformance")
        problem = check()
        if problem:
            print(f"fail {name}\n{problem}", flush=True)
            case.result = [Failure(problem)]
        self.suite.add_testcase(case)
        return not problem

    def _command(self, command: Sequence[str], cwd: Path) -> str:
        """Its output when it failed, else nothing."""
        ended = subprocess.run(
            command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=COMMAND_SECONDS
        )
        return f"exit status {ended.returncode}\n{ended.stdout}" if ended.returncode else ""

    def _unformatted(self) -> str:
        sources = sorted(path.name for path in self._folder.glob("*.go"))
        listed = subprocess.run(
            ["gofmt", "-l", *sources], cwd=self._folder, capture_output=True, text=True, timeout=COMMAND_SECONDS
        )
        return listed.stdout + listed.stderr

    def _generate(self) -> str:
        """Anew each time, so that it is always that of the schema."""
        plugin = self._scratch / "protoc-gen-go"
        return self._command(
            ["go", "build", "-o", os.fspath(plugin), "google.golang.org/protobuf/cmd/protoc-gen-go"], self._folder
        ) or self._command(
            [
                *(sys.executable, "-m", "grpc_tools.protoc", f"-I{self._root / SCHEMAS}"),
                *(f"--plugin=protoc-gen-go={plugin}", f"--go_out={self._folder}", f"--go_opt=module={MODULE}"),
                SCHEMA,
            ],
            self._root,
        )

    def _vet(self) -> str:
        return self._command(["go", "vet", "./..."], self._folder)

    def _python_stores(self) -> None:
        lengths = [1, 4097, 100_000, MIB]
        keys = [os.urandom(32) for _ in lengths]
        with self._client() as client:
            for key, length in zip(keys, lengths, strict=True):
                source = np.frombuffer(bytes_of(key, length), dtype=np.uint8)
                assert client.store(key, [source], crc32c=True).committed == 1
        told = {"keys": base64.b64encode(b"".join(keys)).decode(), "lengths": lengths}
        (self._scratch / "python.json").write_text(json.dumps(told))

    def _python_loads(self) -> str:
        stored = self._scratch / "go.json"
        if not stored.is_file():
            return "Go stored nothing"
        told = json.loads(stored.read_text())
        keys, lengths = base64.b64decode(told["keys"]), told["lengths"]
        places = [np.zeros(length, dtype=np.uint8) for length in lengths]
        with self._client() as client:
            loaded = client.load_prefix(keys, places, verify=True)
        if len(loaded.loaded) != len(lengths) or not loaded.loaded.all():
            return f"not all were loaded: {loaded}"
        wanted = [bytes_of(keys[32 * at : 32 * at + 32], length) for at, length in enumerate(lengths)]
        wrong = [at for at, place in enumerate(places) if place.tobytes() != wanted[at]]
        return f"other bytes in objects {wrong}" if wrong else ""

    def _client(self) -> Client:
        return Client.connect(self._node.socket, namespace=SHARED, name="conformance", deadline=DEADLINE_SECONDS)

    def _go_tests(self, *chosen: str) -> None:
        """Runs them, and kills and starts the node whenever they ask for it."""
        ask, done = self._scratch / "ask", self._scratch / "done"
        for pipe in (ask, done):
            pipe.unlink(missing_ok=True)
            os.mkfifo(pipe)
        # Open for both, so that neither opening nor the end of a writer is an event.
        asked, answered = (os.open(pipe, os.O_RDWR) for pipe in (ask, done))
        told: dict[str, Told] = {}
        restart = f"echo now > {shlex.quote(os.fspath(ask))} && read -r _ < {shlex.quote(os.fspath(done))}"
        process = subprocess.Popen(
            ["go", "test", "-json", "-count=1", f"-timeout={GO_TEST_SECONDS}s", *chosen, "."],
            cwd=self._folder,
            env={
                **os.environ,
                "KVASIR_SOCKET": self._node.socket,
                "KVASIR_OTHER": os.fspath(self._scratch),
                "KVASIR_RESTART": restart,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        reader = threading.Thread(target=collect, args=(process.stdout, told))
        reader.start()
        try:
            while process.poll() is None:
                if select.select([asked], [], [], 0.1)[0]:
                    os.read(asked, 64)
                    self._node.kill()
                    self._node.start()
                    os.write(answered, b"done\n")
        finally:
            process.kill()
            status = process.wait()
            reader.join()
            os.close(asked)
            os.close(answered)
        found = cases(told)
        self.suite.add_testcases(found)
        if status != 0 and not any(isinstance(result, Failure) for case in found for result in case.result):
            case = TestCase(f"go test {' '.join(chosen)}", "conformance")
            case.result = [Failure(f"exit status {status} without a test that failed")]
            self.suite.add_testcase(case)


def main() -> int:
    """Exit status 0 only when nothing failed; the report says what did."""
    report = Path(sys.argv[1])
    with (
        tempfile.TemporaryDirectory(prefix="kvasir-conformance-") as scratch,
        Node(DRAM, region=REGION, settings=SETTINGS) as node,
    ):
        run = Conformance(home(), Path(scratch), node)
        run.run()
    run.suite.update_statistics()  # type: ignore[no-untyped-call]
    document = JUnitXml()
    document.add_testsuite(run.suite)
    document.write(os.fspath(report))
    return 1 if run.suite.failures else 0


if __name__ == "__main__":
    sys.exit(main())
