"""The peer link beside raw Aeron, and beside Mooncake's TCP transfer (part of the suite ``cluster``).

``io.kvasir.bench.suite.LinkBench`` moves the bytes: two processes that measure raw Aeron and the link in turn with the
same settings. Loss and delay are those of :mod:`kvasir_ops.lab.network`.
"""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from kvasir_ops.lab.conditions import Conditions
from kvasir_ops.lab.network import JUMBO_MTU, LARGEST_MTU, Network, unavailable

from kvasir_bench import java_bench
from kvasir_bench.context import Context
from kvasir_bench.peers.driven import Driven, DriverError
from kvasir_bench.peers.drivers.protocol import OBJECT_BYTES, OBJECTS
from kvasir_bench.peers.environments import MOONCAKE, PeerUnavailableError, prepare
from kvasir_bench.records import Goal, Record, at_least, at_most, percentile, record

MIB = 1 << 20
RAW = "raw Aeron, same settings, copied out of and into memory, no checksums"
JUMBO_PAYLOAD = 8960
LOOPBACK_PAYLOAD = 65504
PORTS = (47100, 47200)
FIRST_BYTES = 400
ECHOES = 2000
BOUND_S = 600


@dataclass(frozen=True)
class Place:
    """Between whom bytes move: addresses, the datagrams' size, and how the two processes are started."""

    here: str = f"127.0.0.1:{PORTS[0]}"
    there: str = f"127.0.0.1:{PORTS[1]}"
    payload: int = LOOPBACK_PAYLOAD
    puller: Sequence[str] = ()
    holder: Sequence[str] = ()


def run(context: Context) -> Generator[Record, None, None]:
    """Loopback, then the peer on it, then a network that loses and one that is slow."""
    yield from context.part("cluster.link.pull.1m", _megabyte)
    yield from context.part("cluster.link.pull.4m", _four_megabytes)
    reason = unavailable()
    if reason:
        context.skip("cluster.link in namespaces", reason)
        return
    yield from context.part("cluster.link.loss.1m", _loss)
    yield from context.part("cluster.link.delay.1m", _delay)


def _megabyte(context: Context) -> Generator[Record, None, None]:
    megabyte = _measure(context, Place(), MIB, ("--first-bytes", str(FIRST_BYTES)))
    yield _against_raw("cluster.link.pull.1m", "pull of 1 MiB objects on loopback", megabyte, LOOPBACK_PAYLOAD)
    yield _first_byte(megabyte["first_byte_us"])
    yield from context.part("cluster.link.mooncake", _mooncake, megabyte["link"])


def _four_megabytes(context: Context) -> Record:
    figures = _measure(context, Place(), 4 * MIB)
    return _against_raw("cluster.link.pull.4m", "pull of 4 MiB objects on loopback", figures, LOOPBACK_PAYLOAD)


def _loss(context: Context) -> Record:
    figures = _in_network(context, JUMBO_MTU, JUMBO_PAYLOAD, Conditions(loss=0.01))
    return _against_raw("cluster.link.loss.1m", "the same with 1 % loss in both directions", figures, JUMBO_PAYLOAD)


def _delay(context: Context) -> Record:
    # Large datagrams, so that the network's relay, which is Python, is not what limits.
    figures = _in_network(context, LARGEST_MTU, LOOPBACK_PAYLOAD, Conditions(delay=0.005))
    return _against_raw("cluster.link.delay.1m", "the same with 10 ms round trip", figures, LOOPBACK_PAYLOAD)


def _against_raw(id: str, name: str, figures: dict[str, Any], payload: int) -> Record:
    return record(id, name, "GB/s", figures["link"], RAW, figures["raw"], at_least(0.85), datagram_bytes=payload)


def _measure(context: Context, place: Place, size: int, more: Sequence[str] = ()) -> dict[str, Any]:
    arguments = ["--here", place.here, "--there", place.there, "--mtu", str(place.payload), "--size", str(size)]
    arguments += ["--runs", str(context.runs), "--directory", str(context.shared_memory), *more]
    if place.holder:
        arguments += ["--holder-prefix", " ".join(place.holder)]
    programs = java_bench.prepare(context.home, context.say)
    command = [*place.puller, *programs.like_a_node("io.kvasir.bench.suite.LinkBench", *arguments)]
    context.say(f"link: {size >> 20} MiB objects, datagrams of {place.payload} bytes, {context.runs} runs")
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=BOUND_S
    )
    if done.returncode != 0:
        raise RuntimeError(f"LinkBench ended with status {done.returncode}: {done.stderr.strip()[-800:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _first_byte(took_us: Sequence[float]) -> Record:
    return record(
        "cluster.link.first_byte.p50",
        "pull of 1 MiB over an open link to an idle holder, until the first bytes are in the slot",
        "us",
        [percentile(took_us, 0.5)],
        "UDP echo of 64 bytes on loopback, both sides blocking, p50",
        [_udp_echo_us()],
        at_most(plus=1000),
        p99=percentile(took_us, 0.99),
        pulls=len(took_us),
    )


def _udp_echo_us() -> float:
    """The median round trip to another process that blocks in its read."""
    echo = "import socket, sys\ns = socket.socket(type=socket.SOCK_DGRAM)\ns.bind(('127.0.0.1', 0))\n"
    echo += "print(s.getsockname()[1], flush=True)\nwhile True:\n    s.sendto(*s.recvfrom(64))\n"
    with subprocess.Popen([sys.executable, "-c", echo], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = ("127.0.0.1", int(process.stdout.readline()))
            took: list[float] = []
            with socket.socket(type=socket.SOCK_DGRAM) as client:
                client.settimeout(5)
                for _ in range(ECHOES):
                    begin = time.perf_counter()
                    client.sendto(b"x" * 64, address)
                    client.recv(64)
                    took.append((time.perf_counter() - begin) * 1e6)
            return percentile(took, 0.5)
        finally:
            process.kill()


def _mooncake(context: Context, link: Sequence[float]) -> Iterator[Record]:
    """The same bytes with Mooncake's TCP transfer: 512 objects of 1 MiB with one batch_get_into."""
    goal: Goal = at_least(2)
    try:
        python = prepare(MOONCAKE, context.install_system, context.say)
        with closing(Driven(MOONCAKE.title, python, MOONCAKE.driver, context.directory / "mooncake")) as driven:
            order = list(range(OBJECTS))
            random.Random(context.seed).shuffle(order)
            driven.ask("load.1m.512", order, verify=True)
            seconds = [driven.ask("load.1m.512", order, verify=False).seconds[0] for _ in range(context.runs)]
    except (PeerUnavailableError, DriverError) as error:
        context.skip("cluster.link.pull.1m.mooncake", str(error))
        return
    yield record(
        "cluster.link.pull.1m.mooncake",
        "pull of 1 MiB objects on loopback, beside Mooncake",
        "GB/s",
        link,
        f"Mooncake {MOONCAKE.version}, TCP, batch_get_into of 512 objects of 1 MiB, no checksums",
        [OBJECTS * OBJECT_BYTES / each / 1e9 for each in seconds],
        goal,
    )


def _between(network: Network, payload: int) -> Place:
    return Place(
        here=f"{network.address('puller')}:{PORTS[0]}",
        there=f"{network.address('holder')}:{PORTS[1]}",
        payload=payload,
        puller=network.command("puller", []),
        holder=network.command("holder", []),
    )


def _in_network(context: Context, mtu: int, payload: int, conditions: Conditions) -> dict[str, Any]:
    with Network(["puller", "holder"], mtu, context.seed) as network:
        network.shape("puller", "holder", conditions)
        return _measure(context, _between(network, payload), MIB)
