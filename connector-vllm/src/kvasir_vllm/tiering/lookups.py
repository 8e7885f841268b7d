"""Which rows can be loaded: asked in batches on a thread, answered to vLLM's scheduler from memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from enum import Enum

from kvasir import Lease

from kvasir_vllm.tiering.identity import group_of


class Found(Enum):
    """What is known of a row. ``ASKED``: the node has not answered yet."""

    ASKED = "asked"
    LEASED = "leased"
    MISSING = "missing"


@dataclass
class _Request:
    """What one request asked for.

    ``leases`` keep in DRAM what was found, until the request ends or they expire. ``failed`` rows are misses for this
    request whatever the node says: vLLM asks again after a failed load, and must not be told the same hit for ever.
    """

    found: dict[bytes, Found] = field(default_factory=dict)
    asked_at: dict[bytes, float] = field(default_factory=dict)
    lease_of: dict[bytes, Lease] = field(default_factory=dict)
    leases: list[Lease] = field(default_factory=list)
    failed: set[bytes] = field(default_factory=set)


@dataclass(frozen=True)
class RowAnswer:
    """What the node said to one batch; a lease to give back, when there is one."""

    leased: Sequence[bool]
    lease: Lease | None


#: Asks the node about rows of one request and one KV group, within so many seconds; on a thread. Never raises.
Ask = Callable[[int, Sequence[bytes], float], RowAnswer]


class RowLookups:
    """Owned by the scheduler's thread. ``ask`` runs on the executor's; its answers come back through a queue."""

    def __init__(self, ask: Ask, executor: Executor, deadline: float) -> None:
        self._ask = ask
        self._executor = executor
        self._deadline = deadline
        self._requests: dict[str, _Request] = {}
        self._batch: dict[tuple[str, int], list[bytes]] = {}
        self._answers: deque[tuple[str, Sequence[bytes], RowAnswer]] = deque()

    def look(self, request: str, key: bytes) -> Found:
        """At once: what is known; asks when nothing is. A row that is ``LEASED`` is leased."""
        self._take_answers()
        state = self._requests.setdefault(request, _Request())
        if key in state.failed:
            return Found.MISSING
        found = state.found.get(key)
        if found is Found.LEASED and not state.lease_of[key].alive:
            found = None
        elif found is Found.ASKED and time.monotonic() - state.asked_at[key] > self._deadline:
            # The answer is late: a node that is paused, or a thread that is behind. Recomputing goes on without it.
            found = state.found[key] = Found.MISSING
        if found is not None:
            return found
        state.found[key] = Found.ASKED
        state.asked_at[key] = time.monotonic()
        self._batch.setdefault((request, group_of(key)), []).append(key)
        return Found.ASKED

    def send(self) -> None:
        """Once a scheduler step: asks for everything that :meth:`look` did not know."""
        batch, self._batch = self._batch, {}
        until = time.monotonic() + self._deadline
        for (request, group), keys in batch.items():
            self._executor.submit(self._run, request, group, tuple(keys), until)

    def _run(self, request: str, group: int, keys: Sequence[bytes], until: float) -> None:
        left = until - time.monotonic()
        # Nobody waits for what would be late.
        answer = self._ask(group, keys, left) if left > 0 else RowAnswer([False] * len(keys), None)
        self._answers.append((request, keys, answer))

    def _take_answers(self) -> None:
        while self._answers:
            request, keys, answer = self._answers.popleft()
            state = self._requests.get(request)
            if state is None:
                if answer.lease is not None:
                    answer.lease.release()
                continue
            if answer.lease is not None:
                state.leases.append(answer.lease)
            for key, leased in zip(keys, answer.leased, strict=True):
                if state.found.get(key) is not Found.ASKED:
                    continue  # given up before
                if leased and answer.lease is not None:
                    state.found[key] = Found.LEASED
                    state.lease_of[key] = answer.lease
                else:
                    state.found[key] = Found.MISSING

    def failed(self, request: str, keys: Iterable[bytes]) -> None:
        """A load of these rows failed: they are misses for this request from now on."""
        state = self._requests.get(request)
        if state is not None:
            state.failed.update(keys)

    def ended(self, request: str) -> None:
        """The request is over: gives back what it had leased."""
        self._take_answers()
        state = self._requests.pop(request, None)
        self._batch = {where: keys for where, keys in self._batch.items() if where[0] != request}
        if state is not None:
            for lease in state.leases:
                lease.release()

    def close(self) -> None:
        """Gives back everything. The executor must have ended."""
        for request in list(self._requests):
            self.ended(request)
        self._take_answers()
