"""A network of namespaces: one for each node, and a hub between them that loses, delays and blocks on request.

::

    node 1: eth0 --- n1 +-----+ n2 --- eth0 : node 2
                        | hub |
    node 3: eth0 --- n3 +-----+ relay (TUN) <-> process

A node's rate is limited by tbf on both ends of its cable. Loss and blocking are rules of nft in the hub, for each
direction of each pair. Delay, jitter, reordering and duplication are the work of :mod:`kvasir_ops.lab.relay`.

The hub routes and answers ARP for everybody, so that to the nodes this is one Ethernet; packets of pairs that are to be
delayed take the way through the relay. Needs root, ``ip``, ``nft`` and ``nsenter``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from itertools import combinations, permutations
from pathlib import Path
from types import TracebackType
from typing import Any

from kvasir_ops.lab.conditions import CLEAR, Conditions
from kvasir_ops.lab.namespaces import NetworkError, NetworkNamespace
from kvasir_ops.lab.relay import DEVICE

ETHERNET_MTU = 1500
JUMBO_MTU = 9000
LARGEST_MTU = 65_535
MOST_NODES = 200

_SUBNET = "10.77.0"
_PREFIX_BITS = 24
_HUB_ADDRESS = f"{_SUBNET}.254"
_RELAY_TABLE = 100
_RELAY_QUEUE_PACKETS = 50_000
_LOSS_STEPS = 1_000_000
_STOP_SECONDS = 5.0
# A token bucket that is smaller than a timer tick's worth of bytes stays below its rate.
_BUCKET_SECONDS = 0.01
_QUEUE_SECONDS = 0.05


class Network:
    """Namespaces and cables for named nodes. Everything is gone after :meth:`close`, and after a kill of this process.

    Processes are started inside with :meth:`command`; they have to end before, or with, this process. Owned by one
    thread.
    """

    def __init__(self, nodes: Sequence[str], mtu: int = ETHERNET_MTU, seed: int = 0) -> None:
        """Makes the network, without any faults.

        Args:
            nodes: names, in the order of their addresses.
            mtu: of every cable, in bytes.
            seed: of what the relay draws. The kernel's draws for loss have no seed.

        Raises:
            NetworkError: this machine cannot; :func:`unavailable` says so beforehand.
        """
        if not 1 <= len(nodes) <= MOST_NODES or len(set(nodes)) != len(nodes):
            raise ValueError(f"1 to {MOST_NODES} different names are needed; seen: {list(nodes)}")
        self._number = {name: number for number, name in enumerate(nodes, 1)}
        self._mtu = mtu
        self._seed = seed
        self._conditions: dict[tuple[str, str], Conditions] = {}
        self._relayed: set[tuple[str, str]] = set()
        self._relay: subprocess.Popen[str] | None = None
        with ExitStack() as stack:
            self._hub = stack.enter_context(NetworkNamespace())
            self._inside = {name: stack.enter_context(NetworkNamespace()) for name in nodes}
            self._connect()
            stack.callback(self._stop_relay)
            self._stack = stack.pop_all()

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names."""
        return tuple(self._number)

    def address(self, node: str) -> str:
        """The IPv4 address of a node."""
        return f"{_SUBNET}.{self._number[node]}"

    def namespace(self, node: str) -> NetworkNamespace:
        """Where the node's processes live."""
        return self._inside[node]

    def command(self, node: str, command: Sequence[str]) -> list[str]:
        """The command line that runs ``command`` at a node."""
        return self._inside[node].command(command)

    # ---- faults

    def shape(self, source: str, destination: str, conditions: Conditions, both: bool = True) -> None:
        """Puts a pair under conditions, in both directions or only from ``source`` to ``destination``."""
        directions = [(source, destination), (destination, source)][: 2 if both else 1]
        self._set(dict.fromkeys(directions, conditions))

    def shape_all(self, conditions: Conditions) -> None:
        """Puts every direction of every pair under the same conditions."""
        self._set(dict.fromkeys(permutations(self._number, 2), conditions))

    def partition(self, *groups: Iterable[str]) -> None:
        """Blocks everything between the groups; what is not named is a group of its own. Keeps other conditions."""
        named = [set(group) for group in groups]
        rest = set(self._number).difference(*named)
        place = {node: number for number, group in enumerate([*named, rest]) for node in group}
        self._block(lambda one, other: place[one] != place[other])

    def heal(self) -> None:
        """Ends every partition; loss, delay and rate stay."""
        self._block(lambda one, other: False)

    def clear(self) -> None:
        """Ends every condition; rates stay."""
        self._set(dict.fromkeys(self._conditions, CLEAR))

    def rate(self, node: str, bytes_per_s: float) -> None:
        """Limits what a node sends and what it receives, each. 0: no limit."""
        for where, device in ((self._inside[node], "eth0"), (self._hub, self._cable(node))):
            if bytes_per_s:
                bucket = max(int(bytes_per_s * _BUCKET_SECONDS), 4 * self._mtu)
                queue = max(int(bytes_per_s * _QUEUE_SECONDS), 16 * self._mtu)
                where.run(
                    ["tc", "qdisc", "replace", "dev", device, "root", "tbf", "rate", f"{int(bytes_per_s * 8)}bit",
                     "burst", str(bucket), "limit", str(bucket + queue)]
                )  # fmt: skip
            elif "tbf" in where.run(["tc", "qdisc", "show", "dev", device]):
                where.run(["tc", "qdisc", "del", "dev", device, "root"])

    def relayed(self) -> dict[str, Any]:
        """What the relay did so far; see :class:`kvasir_ops.lab.relay.Counts`. Empty when there is none."""
        return self._ask_relay({}) if self._relay else {}

    def dropped(self, source: str, destination: str) -> int:
        """Packets that the hub's rules have dropped in this direction since the conditions last changed."""
        listing = json.loads(self._hub.run(["nft", "--json", "list", "table", "ip", "lab"]))
        wanted = self._comment(source, destination)
        rules = [entry["rule"] for entry in listing["nftables"] if "rule" in entry]
        counters = [part["counter"] for rule in rules if rule.get("comment") == wanted for part in rule["expr"]
                    if "counter" in part]  # fmt: skip
        return sum(counter["packets"] for counter in counters)

    # ---- how

    def _cable(self, node: str) -> str:
        return f"n{self._number[node]}"

    def _connect(self) -> None:
        self._hub.run(["ip", "link", "set", "lo", "up"])
        self._hub.configure("ipv4/ip_forward", 1)
        # IPv6 would send packets that nobody asked for.
        with suppress(FileNotFoundError):
            self._hub.configure("ipv6/conf/default/disable_ipv6", 1)
        for name, inside in self._inside.items():
            cable = self._cable(name)
            # Without segmentation offload a packet that is lost is one packet.
            self._hub.run(
                ["ip", "-batch", "-"],
                f"link add {cable} type veth peer name eth0 netns {inside.path}\n"
                f"link set {cable} mtu {self._mtu} gso_max_segs 1 up\n"
                f"address add {_HUB_ADDRESS}/32 dev {cable}\n"
                f"route add {self.address(name)}/32 dev {cable}\n",
            )
            for key, value in (("conf/{}/proxy_arp", 1), ("conf/{}/rp_filter", 0), ("neigh/{}/proxy_delay", 0)):
                self._hub.configure(f"ipv4/{key.format(cable)}", value)
            inside.run(
                ["ip", "-batch", "-"],
                "link set lo up\n"
                f"link set eth0 mtu {self._mtu} gso_max_segs 1 addrgenmode none up\n"
                f"address add {self.address(name)}/{_PREFIX_BITS} dev eth0\n",
            )
        self._hub.configure("ipv4/conf/all/rp_filter", 0)
        self._filter()

    def _set(self, changes: dict[tuple[str, str], Conditions]) -> None:
        for source, destination in changes:
            if source not in self._number or destination not in self._number or source == destination:
                raise ValueError(f"no such pair: {source} and {destination}; there are: {', '.join(self._number)}")
        self._conditions |= changes
        if self._relay is None and any(conditions.needs_relay for conditions in self._conditions.values()):
            self._start_relay()
        if self._relay is not None:
            self._ask_relay({"rules": [self._rule(*pair) for pair in self._conditions if self._needs_relay(pair)]})
            self._route()
        self._filter()

    def _block(self, is_blocked: Callable[[str, str], bool]) -> None:
        self._set(
            {
                pair: Conditions(**vars(self._conditions.get(pair, CLEAR)) | {"blocked": is_blocked(*pair)})
                for one, other in combinations(self._number, 2)
                for pair in ((one, other), (other, one))
            }
        )

    def _needs_relay(self, pair: tuple[str, str]) -> bool:
        return self._conditions[pair].needs_relay

    def _rule(self, source: str, destination: str) -> dict[str, Any]:
        conditions = self._conditions[source, destination]
        return {
            "source": self.address(source),
            "destination": self.address(destination),
            "delay": conditions.delay,
            "jitter": conditions.jitter,
            "reorder": conditions.reorder,
            "duplicate": conditions.duplicate,
        }

    @staticmethod
    def _comment(source: str, destination: str) -> str:
        return f"{source} to {destination}"

    def _filter(self) -> None:
        """Writes the hub's rules anew, in one step."""
        lines = []
        for (source, destination), conditions in self._conditions.items():
            pair = f"ip saddr {self.address(source)} ip daddr {self.address(destination)}"
            end = f'counter drop comment "{self._comment(source, destination)}"'
            if conditions.blocked:
                # Also what waits in the relay.
                lines.append(f"{pair} {end}")
            elif conditions.loss:
                # A packet through the relay comes past twice; it is drawn for when it comes from its node.
                steps = round(conditions.loss * _LOSS_STEPS)
                draw = f"numgen random mod {_LOSS_STEPS} < {steps}" if steps < _LOSS_STEPS else ""
                lines.append(f'iifname "{self._cable(source)}" {pair} {draw} {end}')
        rules = "\n".join(lines)
        self._hub.run(
            ["nft", "-f", "-"],
            "table ip lab\ndelete table ip lab\ntable ip lab {\nchain forward {\n"
            f"type filter hook forward priority 0; policy accept;\n{rules}\n}}\n}}\n",
        )

    def _route(self) -> None:
        """Sends the packets of the pairs that need it to the relay."""
        wanted = {pair for pair in self._conditions if self._needs_relay(pair)}
        changes = [("add", pair) for pair in wanted - self._relayed] + [
            ("del", pair) for pair in self._relayed - wanted
        ]
        batch = "".join(
            f"rule {verb} iif {self._cable(source)} to {self.address(destination)}/32 lookup {_RELAY_TABLE}\n"
            for verb, (source, destination) in changes
        )
        if batch:
            self._hub.run(["ip", "-batch", "-"], batch)
        self._relayed = wanted

    def _start_relay(self) -> None:
        self._relay = subprocess.Popen(
            self._hub.command([sys.executable, "-m", "kvasir_ops.lab.relay", str(self._seed)]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._answer()
        self._hub.run(
            ["ip", "-batch", "-"],
            f"link set {DEVICE} mtu {self._mtu} txqueuelen {_RELAY_QUEUE_PACKETS} up\n"
            f"route add default dev {DEVICE} table {_RELAY_TABLE}\n",
        )
        self._hub.configure(f"ipv4/conf/{DEVICE}/rp_filter", 0)

    def _ask_relay(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._relay is not None
        assert self._relay.stdin is not None
        self._relay.stdin.write(json.dumps(command) + "\n")
        self._relay.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._relay is not None
        assert self._relay.stdout is not None
        line = self._relay.stdout.readline()
        if not line:
            raise NetworkError("the relay ended by itself")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _stop_relay(self) -> None:
        if self._relay is not None:
            assert self._relay.stdin is not None
            assert self._relay.stdout is not None
            self._relay.stdin.close()
            try:
                self._relay.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._relay.kill()
                self._relay.wait()
            self._relay.stdout.close()
            self._relay = None

    def close(self) -> None:
        """Takes the network away. Idempotent."""
        self._stack.close()

    def __enter__(self) -> Network:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def unavailable() -> str:
    """Why no test network can be made here; empty when one can."""
    missing = [tool for tool in ("ip", "tc", "nft", "nsenter") if shutil.which(tool) is None]
    if os.geteuid() != 0:
        return "network namespaces need root"
    if missing:
        return f"{', '.join(missing)} not found (Debian, Ubuntu: apt install iproute2 nftables util-linux)"
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun"
    try:
        with Network(["a", "b"]):
            return ""
    except (NetworkError, OSError) as error:
        return f"no network namespaces: {error}"
