"""The suite ``space``: how much of DRAM the sizes that are wanted now can use, after histories of other sizes.

One node lives through all histories, so that each of them begins with what the ones before have left. A history stores
objects of random sizes for random tenants and keeps 100 of them in use. Then other sizes are stored as fast as the node
takes them, for at most five seconds.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from kvasir import Client
from kvasir.records import SlotStatus
from kvasir_ops.replay.content import WORD, Content

from kvasir_bench.context import Context
from kvasir_bench.node import MIB, Node
from kvasir_bench.objects import buffer, key_of
from kvasir_bench.records import Goal, Record, at_most, record

CAPACITY = 256 * MIB
TENANTS = ("red", "green", "blue", "gray")
KIB = 1024
#: Sizes of a history, of its objects that stay in use, and of what is wanted afterwards.
SIZES = (4 * KIB, 4 * MIB)
HOT_SIZES = (4 * KIB, 256 * KIB)
WANTED_SIZES = (16 * KIB, 2 * MIB)
HOT = 100
WITHIN_S = 5.0
SHARE = 0.9
#: What is stored after a history at most, and how often what is in use is used meanwhile, in shares of the capacity.
STORED = 1.5
USED_EACH = 0.25
BATCH_BYTES = 4 * MIB
PEEK_KEYS = 8192


@dataclass(frozen=True)
class Stored:
    """An object that the node took."""

    tenant: str
    key: bytes
    length: int


@dataclass
class Outcome:
    """What one history left: shares of DRAM, seconds until the goal's share (None: not in time), objects in use."""

    share: float = 0.0
    seconds: float | None = None
    hot: int = 0
    wrong: int = 0


@dataclass
class _World:
    """The node's clients, and the objects of all sizes."""

    clients: dict[str, Client]
    contents: dict[int, Content] = field(default_factory=dict)
    stored: int = 0

    def store(self, tenant: str, length: int, count: int) -> list[Stored]:
        """Stores new objects of one size; those that the node took."""
        keys = [key_of("space", self.stored + index) for index in range(count)]
        self.stored += count
        rows = buffer(count, length)
        content = self.content(length)
        for key, row in zip(keys, rows, strict=True):
            content.write(key, row)
        done = self.clients[tenant].store(keys, rows, wait=1.0, deadline=WITHIN_S)
        taken = zip(keys, done.statuses, strict=True)
        return [Stored(tenant, key, length) for key, status in taken if status == SlotStatus.COMMITTED]

    def present(self, objects: Sequence[Stored]) -> list[Stored]:
        """Those that are hits."""
        found: list[Stored] = []
        for tenant, client in self.clients.items():
            own = [each for each in objects if each.tenant == tenant]
            for first in range(0, len(own), PEEK_KEYS):
                part = own[first : first + PEEK_KEYS]
                lease = client.lookup([each.key for each in part], peek=True, sparse=True)
                hits = lease.slots["status"][:, 0] == SlotStatus.HIT
                found += [each for each, hit in zip(part, hits, strict=True) if hit]
        return found

    def use(self, objects: Sequence[Stored]) -> None:
        """Leases them, as an engine that loads them does."""
        for tenant, client in self.clients.items():
            keys = [each.key for each in objects if each.tenant == tenant]
            if keys:
                client.lookup(keys, sparse=True).release()

    def wrong(self, objects: Sequence[Stored]) -> int:
        """Loads them; wrong bytes of those that could be loaded."""
        wrong = 0
        for each in objects:
            row = buffer(1, each.length)
            loaded = self.clients[each.tenant].load_prefix([each.key], row)
            if loaded.leading_chunks:
                wrong += self.content(each.length).wrong_bytes(each.key, row[0])
        return wrong

    def content(self, length: int) -> Content:
        """What objects of this size are made of."""
        if length not in self.contents:
            self.contents[length] = Content(length)
        return self.contents[length]


def run(context: Context) -> Generator[Record, None, None]:
    """All histories, and the worst of them."""
    with ExitStack() as stack:
        node = Node(
            context.home,
            context.directory / "space",
            context.shared_memory / "space",
            {
                "dram": {"capacity": f"{CAPACITY // MIB}MiB"},
                "ssd": {"capacity": 0},
                "tenants": [{"name": name, "token": token_of(name)} for name in TENANTS],
            },
        )
        stack.callback(node.close)
        node.start()
        world = _World(
            {name: stack.enter_context(node.client(token=token_of(name).encode(), deadline=30.0)) for name in TENANTS}
        )
        outcomes: list[Outcome] = []
        for index in range(context.histories):
            outcome = history(world, random.Random(f"{context.seed}/{index}"))
            outcomes.append(outcome)
            took = "not in time" if outcome.seconds is None else f"{outcome.seconds:.2f} s"
            context.say(
                f"space: history {index}: {100 * outcome.share:.1f} % of DRAM usable ({took}), "
                f"{outcome.hot} of {HOT} objects in use are hits"
            )
            if outcome.wrong:
                context.violated("space", f"{outcome.wrong} bytes of objects in use are wrong after history {index}")
    yield from _records(outcomes)


def token_of(tenant: str) -> str:
    """The secret of a tenant's engines."""
    return f"{tenant}-of-the-suite-space"


def history(world: _World, draw: random.Random) -> Outcome:
    """One history, and what is wanted after it."""
    hot = _past(world, draw)
    outcome = Outcome()
    wanted = [(draw.choice(TENANTS), _size(draw, WANTED_SIZES)) for _ in range(draw.choice((1, 1, 2, 3)))]
    objects: list[Stored] = []
    offered, used_at = 0, 0.0
    begin = time.monotonic()
    while time.monotonic() < begin + WITHIN_S and (offered < STORED * CAPACITY or outcome.seconds is None):
        tenant, length = draw.choice(wanted)
        count = max(1, BATCH_BYTES // length)
        objects += world.store(tenant, length, count)
        offered += count * length
        if offered >= used_at:
            used_at = offered + USED_EACH * CAPACITY
            world.use(hot)
        if offered >= SHARE * CAPACITY - sum(each.length for each in hot):
            objects = world.present(objects)
            share = sum(each.length for each in objects + world.present(hot)) / CAPACITY
            outcome.share = max(outcome.share, share)
            if share >= SHARE and outcome.seconds is None:
                outcome.seconds = time.monotonic() - begin
    there = world.present(hot)
    outcome.hot = len(there) + HOT - len(hot)
    outcome.wrong = world.wrong(there)
    return outcome


def _past(world: _World, draw: random.Random) -> list[Stored]:
    """Stores a history; the objects of it that are in use."""
    tenants = draw.sample(TENANTS, draw.randint(1, len(TENANTS)))
    sizes = [_size(draw, SIZES) for _ in range(draw.randint(1, 30))]
    volume = int(CAPACITY * draw.uniform(0.1, 1.5))
    steps = 10
    hot: list[Stored] = []
    for _step in range(steps):
        end = 0
        while end < volume / steps:
            length = draw.choice(sizes)
            count = max(1, min(draw.randint(1, 64), BATCH_BYTES // length))
            world.store(draw.choice(tenants), length, count)
            end += count * length
        for _ in range(HOT // steps):
            hot += world.store(draw.choice(tenants), _size(draw, HOT_SIZES), 1)
        world.use(hot)
    return hot


def _size(draw: random.Random, bounds: tuple[int, int]) -> int:
    """A size between these, each order of magnitude as likely as another."""
    return int(math.exp(draw.uniform(math.log(bounds[0]), math.log(bounds[1])))) // WORD * WORD


def _records(outcomes: Sequence[Outcome]) -> Generator[Record, None, None]:
    shares = [each.share for each in outcomes]
    yield record(
        "space.usable",
        f"share of DRAM that the wanted sizes and what is in use have within {WITHIN_S:g} s, worst history",
        "",
        [min(shares)],
        "the goal",
        [SHARE],
        Goal("at_least", 0.0, SHARE),
        histories=len(outcomes),
        median=statistics.median(shares),
        below=sum(share < SHARE for share in shares),
    )
    yield record(
        "space.hot",
        f"of {HOT} objects in use before, hits afterwards, worst history",
        "",
        [float(min(each.hot for each in outcomes))],
        "the goal",
        [float(HOT)],
        Goal("at_least", 0.0, float(HOT)),
        histories=len(outcomes),
        below=sum(each.hot < HOT for each in outcomes),
    )
    times = [each.seconds for each in outcomes if each.seconds is not None]
    yield record(
        "space.seconds",
        f"time until {100 * SHARE:g} % of DRAM are used, worst history that got there",
        "s",
        [max(times)] if times else [],
        "the goal",
        [WITHIN_S],
        at_most(plus=WITHIN_S),
        histories=len(times),
        median=statistics.median(times) if times else None,
    )
