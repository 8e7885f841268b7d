"""The test network with real packets: what passes, what does not, how late, and what a kill leaves behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from kvasir_ops.lab.conditions import Conditions
from kvasir_ops.lab.network import Network, unavailable

PORT = 7000
WAIT_SECONDS = 5.0
SILENCE_SECONDS = 0.3
DELAY = 0.02

_reason = unavailable()
pytestmark = [pytest.mark.integration, pytest.mark.skipif(bool(_reason), reason=_reason or "available")]


@pytest.fixture
def network() -> Iterator[Network]:
    with Network(["a", "b", "c"], seed=1) as made:
        yield made


class Post:
    """A UDP socket of a node that sends numbered packets to others."""

    def __init__(self, network: Network, node: str) -> None:
        self._network = network
        self.socket = network.namespace(node).socket(socket.SOCK_DGRAM)
        self.socket.bind((network.address(node), PORT))

    def send(self, to: str, numbers: range) -> None:
        for number in numbers:
            self.socket.sendto(number.to_bytes(4, "big"), (self._network.address(to), PORT))

    def received(self, count: int) -> list[int]:
        """The numbers of the next ``count`` packets, or of fewer when nothing more comes."""
        numbers: list[int] = []
        self.socket.settimeout(WAIT_SECONDS)
        while len(numbers) < count:
            try:
                numbers.append(int.from_bytes(self.socket.recv(16), "big"))
            except TimeoutError:
                break
        return numbers

    def everything(self) -> list[int]:
        """The numbers of all packets until none comes for a while."""
        numbers = []
        self.socket.settimeout(SILENCE_SECONDS)
        while True:
            try:
                numbers.append(int.from_bytes(self.socket.recv(16), "big"))
            except TimeoutError:
                return numbers


@pytest.fixture
def posts(network: Network) -> Iterator[dict[str, Post]]:
    made = {node: Post(network, node) for node in network.nodes}
    yield made
    for post in made.values():
        post.socket.close()


def connected(network: Network, client: str, server: str) -> tuple[socket.socket, socket.socket]:
    with network.namespace(server).socket(socket.SOCK_STREAM) as listening:
        listening.bind((network.address(server), PORT))
        listening.listen()
        one = network.namespace(client).socket(socket.SOCK_STREAM)
        one.settimeout(WAIT_SECONDS)
        one.connect((network.address(server), PORT))
        other, _ = listening.accept()
    other.settimeout(WAIT_SECONDS)
    return one, other


def send_and_receive(one: socket.socket, other: socket.socket, data: bytes) -> bytes:
    """What ``other`` reads while ``one`` sends ``data`` and closes."""

    def send() -> None:
        one.sendall(data)
        one.close()

    thread = threading.Thread(target=send)
    thread.start()
    parts = []
    while part := other.recv(1 << 16):
        parts.append(part)
    thread.join()
    other.close()
    return b"".join(parts)


def test_packets_pass_in_every_direction(network: Network, posts: dict[str, Post]) -> None:
    for source, destination in permutations(network.nodes, 2):
        posts[source].send(destination, range(10))
        assert posts[destination].received(10) == list(range(10)), (source, destination)


def test_tcp_bytes_arrive_unharmed_through_loss_delay_and_reordering(network: Network) -> None:
    data = os.urandom(1 << 18)
    one, other = connected(network, "a", "b")
    network.shape("a", "b", Conditions(loss=0.01, delay=0.002, jitter=0.001, reorder=0.05, duplicate=0.05))
    assert send_and_receive(one, other, data) == data


def test_partition_separates_groups_and_nothing_else(network: Network, posts: dict[str, Post]) -> None:
    network.partition(["a", "b"], ["c"])
    for source, destination in permutations(network.nodes, 2):
        posts[source].send(destination, range(3))
    assert posts["a"].everything() == [0, 1, 2]
    assert posts["b"].everything() == [0, 1, 2]
    assert posts["c"].everything() == []
    assert network.dropped("a", "c") == network.dropped("c", "a") == 3


def test_healed_network_lets_an_open_connection_go_on(network: Network) -> None:
    one, other = connected(network, "a", "b")
    network.partition(["a"])
    one.sendall(b"kept")
    other.settimeout(SILENCE_SECONDS)
    with pytest.raises(TimeoutError):
        other.recv(16)
    network.heal()
    other.settimeout(WAIT_SECONDS)
    assert other.recv(16) == b"kept"
    one.close()
    other.close()


def test_one_direction_is_blocked_alone(network: Network, posts: dict[str, Post]) -> None:
    network.shape("a", "b", Conditions(blocked=True), both=False)
    posts["a"].send("b", range(3))
    posts["b"].send("a", range(3))
    assert posts["b"].everything() == []
    assert posts["a"].everything() == [0, 1, 2]


@pytest.mark.parametrize("delay", [0.0, 0.001], ids=["direct", "relayed"])
def test_configured_share_of_packets_is_lost_once(network: Network, posts: dict[str, Post], delay: float) -> None:
    network.shape("a", "b", Conditions(loss=0.3, delay=delay), both=False)
    network.shape("c", "b", Conditions(delay=delay), both=False)
    arrived = 0
    for first in range(0, 2000, 100):
        posts["a"].send("b", range(first, first + 100))
        posts["c"].send("b", range(9999, 10000))
        # What c sent comes after all that a sent before it.
        while (got := posts["b"].received(1)) != [9999]:
            assert len(got) == 1
            arrived += 1
    # Six standard deviations of the binomial distribution.
    assert 1400 - 123 < arrived < 1400 + 123
    assert arrived + network.dropped("a", "b") == 2000


def test_delayed_packets_are_never_early(network: Network, posts: dict[str, Post]) -> None:
    network.shape("a", "b", Conditions(delay=DELAY))
    for number in range(20):
        began = time.monotonic()
        posts["a"].send("b", range(number, number + 1))
        assert posts["b"].received(1) == [number]
        posts["b"].send("a", range(number, number + 1))
        assert posts["a"].received(1) == [number]
        assert time.monotonic() - began >= 2 * DELAY


def test_jitter_keeps_the_order(network: Network, posts: dict[str, Post]) -> None:
    network.shape("a", "b", Conditions(delay=0.001, jitter=DELAY), both=False)
    posts["a"].send("b", range(100))
    assert posts["b"].received(100) == list(range(100))


def test_reordered_packets_overtake_and_none_is_lost(network: Network, posts: dict[str, Post]) -> None:
    network.shape("a", "b", Conditions(delay=DELAY, reorder=0.3), both=False)
    posts["a"].send("b", range(100))
    got = posts["b"].received(100)
    assert sorted(got) == list(range(100))
    assert got != sorted(got)


def test_duplicated_packets_come_twice(network: Network, posts: dict[str, Post]) -> None:
    network.shape("a", "b", Conditions(duplicate=1.0), both=False)
    posts["a"].send("b", range(20))
    assert sorted(posts["b"].received(40)) == sorted([*range(20), *range(20)])


def test_rate_bounds_what_a_node_receives(network: Network) -> None:
    bytes_per_s, data = 4_000_000, bytes(1 << 20)
    network.rate("b", bytes_per_s)
    one, other = connected(network, "a", "b")
    began = time.monotonic()
    assert len(send_and_receive(one, other, data)) == len(data)
    # The bucket may be full at the start.
    assert time.monotonic() - began >= 0.8 * len(data) / bytes_per_s
    network.rate("b", 0)


def test_cleared_pairs_leave_the_relay(network: Network, posts: dict[str, Post]) -> None:
    network.shape("a", "b", Conditions(delay=0.001))
    posts["a"].send("b", range(5))
    assert posts["b"].received(5) == list(range(5))
    assert network.relayed()["packets"] == 5
    network.clear()
    posts["a"].send("b", range(5))
    assert posts["b"].received(5) == list(range(5))
    assert network.relayed()["packets"] == 5


def test_processes_of_a_node_have_its_address(network: Network) -> None:
    shown = subprocess.run(network.command("b", ["ip", "-4", "address"]), capture_output=True, text=True, check=True)
    assert network.address("b") in shown.stdout


def test_unknown_pair_is_refused(network: Network) -> None:
    with pytest.raises(ValueError, match="no such pair: a and d; there are: a, b, c"):
        network.shape("a", "d", Conditions(loss=0.1))


HELD = """
import os, signal
from kvasir_ops.lab.conditions import Conditions
from kvasir_ops.lab.network import Network
network = Network(["a", "b"])
network.shape("a", "b", Conditions(delay=0.01))
print(*(os.stat(where.path).st_ino for where in (network._hub, *network._inside.values())), flush=True)
signal.pause()
"""


def in_namespace(inode: int) -> list[str]:
    """Processes whose network namespace this is."""
    found = []
    for link in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            if link.stat().st_ino == inode:
                found.append(link.parts[2])
        except OSError:
            # It ended meanwhile.
            continue
    return found


def test_kill_9_leaves_nothing_behind() -> None:
    with subprocess.Popen([sys.executable, "-c", HELD], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        hub, *inside = (int(word) for word in process.stdout.readline().split())
        assert len(inside) == 2
        (relay,) = in_namespace(hub)
        process.send_signal(signal.SIGKILL)
        process.wait(WAIT_SECONDS)
    bound = time.monotonic() + WAIT_SECONDS
    while Path("/proc", relay).exists():
        assert time.monotonic() < bound, f"the relay {relay} lives"
        os.sched_yield()
    assert [in_namespace(inode) for inode in (hub, *inside)] == [[], [], []]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": 1.5}, "loss is a share, 0 to 1; seen: 1.5"),
        ({"delay": -1.0}, "delay and jitter are 0 to 60 seconds"),
        ({"reorder": 0.1}, "reorder needs a delay"),
    ],
)
def test_impossible_conditions_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Conditions(**arguments)  # type: ignore[arg-type]  # a dictionary of floats
