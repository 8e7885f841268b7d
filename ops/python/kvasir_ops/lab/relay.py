"""The user-space part of the test network: delays, reorders and duplicates the packets that are routed to it.

A process of its own inside the network's hub, with a TUN device: the hub's rules send it the packets of chosen pairs,
and it writes them back when they are due, for the hub to deliver. So nodes keep their addresses, and any protocol
passes. It is here because the kernels of test machines come without ``tc netem``.

Rules come as lines of JSON on standard input; each is answered by a line.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import heapq
import json
import os
import random
import select
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass

DEVICE = "relay"

_TUNSETIFF = 0x400454CA
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000
_PR_SET_PDEATHSIG = 1
# Source and destination in an IPv4 header.
_ADDRESSES = slice(12, 20)
_LARGEST_PACKET = 65_536
# Read in one go before those that are due are looked at again.
_BURST = 64
_QUEUE_BYTES = 256 << 20
_NICENESS = -15


@dataclass
class Rule:
    """What happens to one direction of one pair; see :class:`kvasir_ops.lab.conditions.Conditions`."""

    delay: float
    jitter: float
    reorder: float
    duplicate: float
    # When the packet before it is due: jitter keeps the order.
    last_due: float = 0.0


@dataclass
class Counts:
    """What the relay did since its start. ``latest`` is the longest that a packet left after it was due, in seconds."""

    packets: int = 0
    bytes: int = 0
    dropped: int = 0
    latest: float = 0.0


class Relay:
    """The loop. Owned by the process's only thread."""

    def __init__(self, device: int, seed: int) -> None:
        self._device = device
        self._random = random.Random(seed)
        self._rules: dict[bytes, Rule] = {}
        self._waiting: list[tuple[float, int, bytes]] = []
        self._waiting_bytes = 0
        self._number = 0
        self._counts = Counts()
        self._commands = b""

    def run(self) -> None:
        """Until the end of standard input."""
        commands = sys.stdin.fileno()
        os.set_blocking(commands, False)
        while True:
            bound = max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else None
            # Not epoll: its bound is in whole milliseconds.
            readable, _, _ = select.select([self._device, commands], [], [], bound)
            if self._device in readable:
                self._read()
            self._write_due()
            if commands in readable and not self._take_commands(commands):
                return

    def _read(self) -> None:
        for _ in range(_BURST):
            try:
                packet = os.read(self._device, _LARGEST_PACKET)
            except BlockingIOError:
                return
            rule = self._rules.get(packet[_ADDRESSES])
            now = time.monotonic()
            if rule is None:
                # Its rule has just been taken away.
                self._wait_until(now, packet)
                continue
            due = now + rule.delay
            if rule.jitter:
                rule.last_due = due = max(rule.last_due, due + self._random.random() * rule.jitter)
            if rule.reorder and self._random.random() < rule.reorder:
                due = now
            self._wait_until(due, packet)
            if rule.duplicate and self._random.random() < rule.duplicate:
                self._wait_until(due, packet)

    def _wait_until(self, due: float, packet: bytes) -> None:
        if self._waiting_bytes + len(packet) > _QUEUE_BYTES:
            self._counts.dropped += 1
            return
        self._waiting_bytes += len(packet)
        self._number += 1
        heapq.heappush(self._waiting, (due, self._number, packet))

    def _write_due(self) -> None:
        waiting, counts = self._waiting, self._counts
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            due, _, packet = heapq.heappop(waiting)
            self._waiting_bytes -= len(packet)
            counts.latest = max(counts.latest, now - due)
            try:
                os.write(self._device, packet)
            except OSError:
                # As a network would: the device is down, or the packet is not one.
                counts.dropped += 1
                continue
            counts.packets += 1
            counts.bytes += len(packet)

    def _take_commands(self, commands: int) -> bool:
        data = os.read(commands, _LARGEST_PACKET)
        if not data:
            return False
        *lines, self._commands = (self._commands + data).split(b"\n")
        for line in lines:
            command = json.loads(line)
            if "rules" in command:
                self._rules = {
                    socket.inet_aton(rule.pop("source")) + socket.inet_aton(rule.pop("destination")): Rule(**rule)
                    for rule in command["rules"]
                }
            print(json.dumps(vars(self._counts)), flush=True)
        return True


def open_device() -> int:
    """The descriptor of this namespace's TUN device, which is made when it is not there."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
    return device


def main() -> int:
    """The process's main; the argument is the seed of what is random."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(PermissionError):
        os.nice(_NICENESS)
    # No cycles are made here, and a pause would be a delay that nobody asked for.
    gc.disable()
    relay = Relay(open_device(), int(sys.argv[1]))
    print("{}", flush=True)
    relay.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
