"""A node in surroundings that are not a developer's machine: no name for its user, no IPv4, little memory, odd mounts.

Each test makes the surroundings with the kernel's own means, so these need root.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import NAMESPACE
from kvasir_ops import home
from kvasir_ops.lab.namespaces import NetworkNamespace
from kvasir_ops.lab.nodes import free_ports
from kvasir_ops.node_process import NodeFailedError
from kvasir_ops.testing import MIB, Node, until
from test_node import fresh_keys, fresh_pages

from kvasir import Client, SlotStatus

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and util-linux"),
]

NAMELESS = 54_321
MEMORY_CGROUPS = Path("/sys/fs/cgroup/memory")
BECOME = ["setpriv", f"--reuid={NAMELESS}", f"--regid={NAMELESS}", "--clear-groups", "--"]


def python(*, within: list[str], code: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [*within, sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def stored(client: Client, count: int, size: int) -> int:
    """How many of so many new objects a client stored, one call for each eight."""
    pages = fresh_pages(8, size)
    return sum(client.store(fresh_keys(8), pages, wait=5.0, deadline=20.0).committed for _ in range(count // 8))


STORE = """
import sys, numpy as np
from kvasir import Client, Namespace
with Client.connect(sys.argv[1], namespace=Namespace("nameless", 16), deadline=20.0) as client:
    print(client.store([bytes(32)], np.ones((1, 4096), dtype=np.uint8), wait=5.0).committed)
"""


def test_a_user_without_a_name_runs_a_node_and_finds_it(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    assert node.is_running  # so it is built: another user may not build here
    readable = subprocess.run([*BECOME, "test", "-x", os.fspath(home() / "kvasir")], check=False)
    if readable.returncode:
        pytest.skip(f"another user cannot read {home()}")
    # Its directories are made for it; what it finds by itself is the socket's, below /tmp.
    monkeypatch.setattr(tempfile, "tempdir", "/var/tmp")
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "USER", "LOGNAME"):
        monkeypatch.delenv(name, raising=False)
    name = f"nameless-{os.getpid()}"
    sockets = Path(f"/tmp/kvasir-{NAMELESS}")
    own = Node(settings={"node": {"name": name}, "engine": {"socket": "auto"}}, within=["env", "-u", "HOME", *BECOME])
    own.socket = os.fspath(sockets / f"{name}.sock")
    try:
        for place in (own.places.shared_memory, own.places.state):
            os.chown(place, NAMELESS, NAMELESS)
            place.chmod(0o755)
        os.chown(own.places.configuration, NAMELESS, NAMELESS)
        with own:
            done = python(within=BECOME, code=STORE, arguments=[own.socket])
            assert done.stdout.strip() == "1", done.stderr
    finally:
        for left in (own.socket, f"{own.socket}.lock"):
            Path(left).unlink(missing_ok=True)


@pytest.fixture
def without_ipv4() -> Iterator[NetworkNamespace]:
    with NetworkNamespace() as network:
        network.run(["ip", "link", "set", "lo", "up"])
        network.run(["ip", "address", "flush", "dev", "lo", "scope", "host"])
        for number in (1, 2):
            network.run(["ip", "-6", "address", "add", f"fd00::{number}/128", "dev", "lo", "nodad"])
        network.run(["ip", "-6", "address", "replace", "::1/128", "dev", "lo"])
        assert "inet " not in network.run(["ip", "address", "show"])
        yield network


def test_two_nodes_are_one_cache_where_there_is_no_ipv4(without_ipv4: NetworkNamespace) -> None:
    port = free_ports(1)[0]
    seeds = f"[fd00::1]:{port},[fd00::2]:{port}"
    nodes = []
    for number in (1, 2):
        variables = [
            f"KVASIR_CLUSTER_SEEDS={seeds}",
            f"KVASIR_CLUSTER_ADDRESS=[fd00::{number}]:{port}",
            "KVASIR_CLUSTER_SECRET=a secret of this test's own nodes",
            "KVASIR_HTTP_ADDRESS=[::1]:0",
        ]
        settings = {"node": {"name": f"six-{number}"}}
        nodes.append(Node(settings=settings, within=[*without_ipv4.command(["env", *variables])]))
    first, second = nodes
    with (
        first,
        second,
        Client.connect(first.socket, namespace=NAMESPACE, deadline=20.0) as holder,
        Client.connect(second.socket, namespace=NAMESPACE, deadline=20.0) as asker,
    ):
        until(lambda: len(asker.scores(bytes(32)).nodes) == 2, "the nodes meet")
        keys, pages = fresh_keys(4), fresh_pages(4, 1 << 16)
        assert holder.store(keys, pages, wait=5.0).committed == 4
        until(
            lambda: asker.lookup(keys, peek=True).hit_chunks == 4 or pulled(asker, keys, pages), "the bytes come over"
        )


def pulled(asker: Client, keys: bytes, pages: np.ndarray) -> bool:
    back = np.zeros_like(pages)
    if asker.load_prefix(keys, back, wait=2.0).leading_chunks < len(pages):
        return False
    assert (back == pages).all()
    return True


@pytest.fixture
def memory_cgroup() -> Iterator[Path]:
    group = MEMORY_CGROUPS / f"kvasir-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no memory cgroup of version 1 can be made here: {error}")
    (group / "memory.limit_in_bytes").write_text(str(600 * MIB))
    yield group
    until(lambda: not (group / "cgroup.procs").read_text(), "its processes end")
    group.rmdir()


def inside(group: Path) -> list[str]:
    return ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]


def test_the_usual_capacity_fits_a_memory_limit(memory_cgroup: Path) -> None:
    with (
        Node(settings={"dram": {"capacity": "auto"}}, within=inside(memory_cgroup)) as node,
        Client.connect(node.socket, namespace=NAMESPACE, deadline=20.0) as client,
    ):
        assert stored(client, 800, MIB) == 800
        node.check()
        # It got far: the limit, not a far too small arena, is what keeps it alive.
        assert sum(file.stat().st_blocks * 512 for file in node.data_files()) > 100 * MIB


def test_a_capacity_beyond_the_memory_limit_is_refused_with_numbers(memory_cgroup: Path) -> None:
    with (
        pytest.raises(
            NodeFailedError, match=r"must be at most [0-9.]+ MiB: the memory limit of this process is 600.0 MiB"
        ),
        Node(settings={"dram": {"capacity": "1GiB"}}, within=inside(memory_cgroup)),
    ):
        pass


def test_a_temporary_directory_that_allows_no_code_costs_no_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/var/tmp")
    for options in ("noexec,size=400m", "ro", "size=1m"):
        mounted = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o {options} none /tmp && exec "$@"', "sh"]
        with (
            Node(32 * MIB, ssd=256 * MIB, within=mounted) as node,
            Client.connect(node.socket, namespace=NAMESPACE, deadline=20.0) as client,
        ):
            keys, pages = fresh_keys(96), fresh_pages(96, MIB)
            for row in range(0, 96, 8):
                assert client.store(keys[32 * row : 32 * (row + 8)], pages[row : row + 8], wait=5.0).committed == 8
            hits = sum(
                client.load_prefix(
                    keys[32 * row : 32 * (row + 1)], np.empty((1, MIB), np.uint8), wait=5.0
                ).leading_chunks
                for row in range(96)
            )
            assert hits > 48, f"{hits} of 96 with /tmp mounted {options}"
            assert "Native libraries are unpacked in" in node.log.read_text()


def test_a_configured_place_that_allows_no_code_is_refused() -> None:
    place = "/mnt"
    mounted = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o noexec none {place} && exec "$@"', "sh"]
    with (
        pytest.raises(NodeFailedError, match=rf"{place} is mounted noexec\. Set node\.temporary_directory"),
        Node(ssd=64 * MIB, settings={"node": {"temporary_directory": place}}, within=mounted),
    ):
        pass


def test_a_kill_leaves_nothing_after_the_next_start(tmp_path: Path) -> None:
    addresses = [f"127.0.0.1:{free_ports(1)[0]}"]
    settings = {"cluster": {"seeds": addresses, "address": addresses[0]}}
    node = Node(ssd=64 * MIB, settings=settings, jvm_options=f"-Djava.io.tmpdir={tmp_path}")
    # Of a process that lives, and holds what is in it: the lock's owner is this test.
    living = tmp_path / "kvasir-node-living-1-x"
    living.mkdir()
    with (living / "LOCK").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        with node:
            for _ in range(2):
                node.kill()
                node.start()
            own = [path for path in tmp_path.iterdir() if path != living and not path.name.startswith("hsperfdata")]
            assert len(own) == 1, own
        assert list(living.iterdir()), "what a living process has was removed"
        left = [path for path in tmp_path.iterdir() if path != living and not path.name.startswith("hsperfdata")]
        assert not left


def test_an_arena_too_small_for_what_is_asked_is_said_once() -> None:
    with (
        Node(16 * MIB, region=MIB) as node,
        Client.connect(node.socket, namespace=NAMESPACE, deadline=20.0) as client,
    ):
        for _ in range(3):
            done = client.store(fresh_keys(1), fresh_pages(1, 8 * MIB), wait=0.5)
            assert done.committed == 0
            assert done.statuses[0] != SlotStatus.COMMITTED
        said = [line for line in node.log.read_text().splitlines() if "none can be larger than" in line]
        assert len(said) == 1, said
        assert "reserve.quota" in said[0]
        told = subprocess.run(
            [os.fspath(home() / "kvasir"), "doctor", "--json", "--config", os.fspath(node.places.configuration)],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        largest = next(each for each in json.loads(told.stdout) if each["check"] == "largest object")
        assert largest["status"] == "warn"
        assert largest["value"].startswith("4.0 MiB")


ATTACH = """
import sys
from kvasir import Client, Namespace, NodeUnavailableError
try:
    Client.connect(sys.argv[1], namespace=Namespace("x", 16), deadline=5.0, attach_deadline=5.0).ping()
except NodeUnavailableError as error:
    print(error)
"""


def test_a_client_that_does_not_share_dev_shm_is_told_so() -> None:
    node = Node()
    node.socket = node._told["engine"]["socket"] = os.fspath(node.places.state / "engine.sock")
    node.configure()
    own = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev/shm && exec "$@"', "sh"]
    with node:
        done = python(within=own, code=ATTACH, arguments=[node.socket])
        assert "/dev/shm" in done.stdout, done.stderr
        assert "Containers must share" in done.stdout
