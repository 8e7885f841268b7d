"""Asks the node on a thread of its own, so that the engine's scheduler never waits.

The scheduler's half owns a :class:`Lookup` for each request that waits; the thread fills it in, renews its lease while
it is held, and gives it back. The session with the node belongs to this thread too.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from kvasir import Deadline, GroupRule, KvasirError, Lease, Namespace, NodeUnavailableError, Shard
from kvasir.aio import AsyncClient
from kvasir.backoff import Backoff
from kvasir.engine.breaker import Breaker
from kvasir.engine.log import SeldomLog

from kvasir_vllm.scheduler.presence import TierPresence
from kvasir_vllm.shared.chunks import KEY_BYTES
from kvasir_vllm.shared.options import ConnectorOptions

_log = logging.getLogger("vllm.kvasir")

#: Between two looks at whether the node lives and the session is the same.
_KEEP_S = 1.0
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_HANDOFF_S = 2.0
#: The directory of other nodes files so many consecutive chunks under the first of them. A lookup that begins between
#: two of these would not find its entry: a look at the chunks before, which takes nothing, finds it.
DIRECTORY_CHUNKS = 32
#: Between two looks at whether something that was promised has begun to arrive.
_PROMISED_PAUSE_S = 0.01


@dataclass(eq=False)
class Lookup:
    """One question and its answer. The thread writes; the scheduler reads once ``done`` is True.

    Attributes:
        keys: packed, of the chunks from ``first_chunk`` on; last that of the prompt's tail, when it was handed off.
        end: the token up to which it asks.
        hits: leading chunks that are leased and in the local arena.
        lease: holds them; None when there is nothing.
        failed: the node did not answer, or not in time.
        dropped: nobody waits for the answer any more; what it leases goes back at once.
        promised: another engine computes all of it: what is not here is on its way.
        before: packed keys of chunks ahead of ``first_chunk``, which the engine has; see :data:`DIRECTORY_CHUNKS`.
    """

    keys: bytes
    first_chunk: int
    end: int
    namespace: Namespace
    computed_tokens: int
    recompute_tokens_per_s: float
    timeout: float
    promised: bool = False
    before: bytes = b""
    hits: int = 0
    lease: Lease | None = None
    failed: bool = False
    dropped: bool = False
    done: bool = False

    @property
    def complete(self) -> bool:
        """True when everything that was asked for is a hit."""
        return self.hits * KEY_BYTES == len(self.keys)

    @property
    def usable(self) -> bool:
        """True while an answer may be acted on: an answer without hits always, one with hits while its lease lives."""
        return self.hits == 0 or (self.lease is not None and self.lease.alive)


@dataclass(frozen=True)
class SessionIdentity:
    """Which session with the node is in use."""

    session: int
    secret: bytes


@dataclass
class LookupCounters:
    """Written by the thread, read by statistics."""

    asked: int = 0
    failed: int = 0
    late: int = 0
    handoffs: int = 0
    failed_handoffs: int = 0
    seconds: list[float] = field(default_factory=list)


class LookupService:
    """Runs lookups, keeps leases, keeps the session. Made once for an engine; ends with :meth:`close`."""

    def __init__(
        self,
        options: ConnectorOptions,
        shards: Sequence[Shard],
        groups: Sequence[GroupRule],
        name: str,
        breaker: Breaker,
        removed: Callable[[bytes], None] | None = None,
    ) -> None:
        self.counters = LookupCounters()
        self.identity: SessionIdentity | None = None
        self._options = options
        self._shards, self._groups, self._name = tuple(shards), tuple(groups), name
        self._breaker = breaker
        self._removed = removed
        self._leased: set[Lookup] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: AsyncClient | None = None
        self._namespace: Namespace | None = None
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread: threading.Thread | None = None
        self._calls: SimpleQueue[tuple[Callable[..., object], tuple[object, ...]] | None] = SimpleQueue()
        self._first = threading.Event()
        self._troubles = SeldomLog(_log, math.inf)

    def start(self, namespace: Namespace, patience: float = 0.0) -> None:
        """Begins to attach; returns once that is done, or after ``patience`` seconds."""
        assert self._thread is None
        self._namespace = namespace
        self._thread = threading.Thread(target=self._run, name="kvasir-lookups", daemon=True)
        self._thread.start()
        threading.Thread(target=self._wake, name="kvasir-wake", daemon=True).start()
        self._first.wait(patience)

    # ---- called by the scheduler

    def ask(self, lookup: Lookup) -> None:
        """Fills ``lookup`` in soon; when the node cannot be asked, at once and without hits."""
        if self._client is None or not self._breaker.allow():
            lookup.failed, lookup.done = True, True
            return
        self._in_thread(self._begin, lookup)

    def give_back(self, lookup: Lookup) -> None:
        """Ends interest in it; what it holds or will hold is released."""
        if lookup.dropped:
            return
        lookup.dropped = True
        if not lookup.done or lookup.lease is not None:
            self._in_thread(self._release, lookup)

    def hand_off(self, keys: bytes, node: str, namespace: Namespace) -> None:
        """Has these chunks sent to another node, as soon as each of them is stored."""
        self._in_thread(self._start, self._hand_off(keys, node, namespace))

    @property
    def outstanding(self) -> int:
        """Lookups that hold a lease; for tests and statistics."""
        return len(self._leased)

    def close(self) -> None:
        """Gives everything back and ends the session."""
        if self._thread is not None:
            self._in_thread(self._stop.set)
            self._thread.join(5.0)
            self._calls.put(None)
            self._thread = None

    def _in_thread(self, call: Callable[..., object], *arguments: object) -> None:
        """Hands a call over. Waking the event loop is a system call, which would let go of the interpreter's lock and
        make the scheduler wait for whoever takes it; a queue's put does not, so another thread does the waking."""
        self._calls.put((call, arguments))

    def _wake(self) -> None:
        while (handed := self._calls.get()) is not None:
            call, arguments = handed
            try:
                self._loop.call_soon_threadsafe(call, *arguments)
            except RuntimeError:
                return  # closed: leases ended with the session

    # ---- in the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._keep())
        except Exception:
            # While the interpreter ends, asyncio cannot start the thread that would close the session in order.
            if not sys.is_finalizing() and not self._stop.is_set():
                _log.exception("Kvasir: the lookup thread ended; nothing will be loaded from now on")
        finally:
            self._client = None
            self._loop.close()

    async def _keep(self) -> None:
        """Attaches, looks after the session, renews leases; until told to stop."""
        if self._removed is not None:
            self._start(self._follow_events(self._removed))
        backoff, alone = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S), False
        while not self._stop.is_set():
            try:
                await self._look_after()
                if alone:
                    _log.info("Kvasir: there is a node again")
                backoff.reset()
                pause, alone = _KEEP_S, False
            except (KvasirError, OSError) as error:
                if not alone:
                    _log.warning("Kvasir: no node to work with, prompts are computed: %s", error)
                pause, alone = backoff.failed(), True
            self._first.set()
            try:
                await asyncio.wait_for(self._stop.wait(), pause)
            except asyncio.TimeoutError:
                continue
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
        for lookup in list(self._leased):
            self._release(lookup)
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def _look_after(self) -> None:
        options = self._options
        client = self._client
        if client is None:
            client = await AsyncClient.connect(
                options.socket,
                namespace=self._namespace,
                shards=self._shards,
                groups=self._groups,
                name=self._name,
                token=options.token.encode(),
                deadline=2.0,
            )
            self._client = client
        else:
            await client.ping(deadline=2.0)
        found = SessionIdentity(client.session, client.secret)
        if found != self.identity:
            self.identity = found
            self._troubles.clear()
            _log.info("Kvasir: attached to the node on %s (session %x)", options.socket, found.session)
            if self._breaker.succeeded():
                _log.info("Kvasir: loads again")
        await self._renew(client)

    async def _follow_events(self, removed: Callable[[bytes], None]) -> None:
        """Says which chunks leave the node, until cancelled."""
        presence, after = TierPresence(), 0
        while True:
            try:
                if self._client is None:
                    raise NodeUnavailableError("there is no node to ask")
                batch = await self._client.events(after, wait=_KEEP_S, deadline=_KEEP_S + 2.0)
            except (KvasirError, OSError):
                # Another start of the node has another stream: from its beginning.
                presence.forget()
                after = 0
                await asyncio.sleep(_KEEP_S)
                continue
            if batch.lost:
                presence.forget()
            for event in batch.events:
                key, after = presence.gone(event), event.sequence
                if key is not None:
                    removed(key)

    async def _renew(self, client: AsyncClient) -> None:
        """Leases with less than half of their time left."""
        now = time.monotonic()
        due = [
            lookup for lookup in self._leased
            if lookup.lease is not None and lookup.lease.alive
            and lookup.lease.expires_at - now < self._options.lease_seconds / 2
        ]  # fmt: skip
        if due:
            await client.renew([lookup.lease for lookup in due if lookup.lease], self._options.lease_seconds)

    def _begin(self, lookup: Lookup) -> None:
        self._start(self._answer(lookup))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hand_off(self, keys: bytes, node: str, namespace: Namespace) -> None:
        self.counters.handoffs += 1
        try:
            if self._client is None:
                raise NodeUnavailableError("there is no node to ask")
            await self._client.handoff(
                keys, node, ttl=self._options.handoff_seconds, namespace=namespace, deadline=_HANDOFF_S
            )
        except (KvasirError, OSError) as error:
            self.counters.failed_handoffs += 1
            self._troubles.warn(f"Kvasir: prompts are not handed off to {node}, whose engine computes them", error)

    async def _answer(self, lookup: Lookup) -> None:
        began = time.monotonic()
        self.counters.asked += 1
        try:
            await self._ask_node(lookup, Deadline.after(lookup.timeout))
        except (KvasirError, OSError) as error:
            self.counters.failed += 1
            lookup.failed = lookup.lease is None
            if self._breaker.failed():
                self._troubles.warn("Kvasir: lookups fail, prompts are computed until the node answers again", error)
        except BaseException:
            lookup.failed = True
            self._breaker.failed()
            lookup.done = True
            raise
        else:
            if self._breaker.succeeded():
                self._troubles.clear()
                _log.info("Kvasir: lookups work again")
        self.counters.seconds.append(time.monotonic() - began)
        if lookup.lease is not None:
            lookup.hits = lookup.lease.hit_chunks
            if lookup.lease.id:
                self._leased.add(lookup)
        lookup.done = True
        if lookup.dropped:
            self._release(lookup)

    async def _ask_node(self, lookup: Lookup, deadline: Deadline) -> None:
        client = self._client
        if client is None:
            lookup.failed = True
            return
        if lookup.before:
            await client.lookup(lookup.before + lookup.keys, namespace=lookup.namespace, peek=True, deadline=deadline)
        wait = 0.0
        while True:
            lease = await client.lookup(
                lookup.keys,
                namespace=lookup.namespace,
                wait=wait,
                lease_seconds=self._options.lease_seconds,
                computed_tokens=lookup.computed_tokens,
                recompute_tokens_per_s=lookup.recompute_tokens_per_s,
                deadline=deadline,
            )
            previous, lookup.lease = lookup.lease, lease
            if previous is not None:
                previous.release()
            wait = deadline.remaining()
            here = lease.hit_chunks * KEY_BYTES == len(lookup.keys)
            if here or lookup.dropped or wait < 0.002 or not (lease.pending_chunks or lookup.promised):
                return
            if not lease.pending_chunks:
                await asyncio.sleep(_PROMISED_PAUSE_S)

    def _release(self, lookup: Lookup) -> None:
        if not lookup.done:
            return  # the task sees that it was dropped
        self._leased.discard(lookup)
        lease, lookup.lease = lookup.lease, None
        if lease is not None:
            lease.release()


def namespace_fields(namespace: Namespace) -> Mapping[str, object]:
    """What makes an equal namespace in another process."""
    return {
        "model": namespace.model,
        "chunk_tokens": namespace.chunk_tokens,
        "weights_digest": namespace.weights_digest,
        "hash_algorithm": namespace.hash_algorithm,
        "hash_seed": namespace.hash_seed,
        "kv_dtype": namespace.kv_dtype,
        "quantization": namespace.quantization,
        "layout": namespace.layout,
        "generation": namespace.generation,
        "extra": dict(namespace.extra),
    }
