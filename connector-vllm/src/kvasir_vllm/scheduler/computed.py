"""Which chunks this engine has computed or loaded, and which of them the node was given in this session.

A chunk that was computed while there was no node, or whose store failed or was left out, is stored at its next use:
vLLM has it in its own prefix cache then, and does not compute it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kvasir_vllm.shared.chunks import KEY_BYTES

MOST = 1 << 16
"""Chunks that are followed: 16 million tokens in chunks of 256, and 11 MB of memory."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 64.0


class _State:
    """What is known of one chunk.

    Attributes:
        given: the session in which the node has it, or is being given it; 0: in none.
        refused: the session in which it was last refused.
        not_before, pause: of the next try in that session.
    """

    __slots__ = ("given", "not_before", "pause", "refused")

    def __init__(self) -> None:
        self.given = self.refused = 0
        self.not_before = self.pause = 0.0


@dataclass(frozen=True)
class Chunks:
    """Some chunks of one adapter: its name, empty without one, and their packed keys."""

    lora: str
    keys: bytes

    def __iter__(self) -> Iterator[bytes]:
        prefix = self.lora.encode()
        for at in range(0, len(self.keys), KEY_BYTES):
            yield prefix + self.keys[at : at + KEY_BYTES]


class ComputedChunks:
    """Owned by vLLM's scheduler thread; forgets the chunks whose last use is longest ago.

    Only what was seen to be computed or loaded under the present identity is ever named as missing. What vLLM's cache
    keeps beyond a change of the weights is not.
    """

    def __init__(self, most: int = MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._states: dict[bytes, _State] = {}

    def __len__(self) -> int:
        return len(self._states)

    def computed(self, chunks: Chunks) -> None:
        """This engine computes these chunks."""
        for name in chunks:
            self._used(name)

    def given(self, chunks: Chunks, session: int) -> None:
        """The node has these chunks, or their store was ordered."""
        for name in chunks:
            self._used(name).given = session

    def refused(self, chunks: Chunks, session: int) -> None:
        """A store of that session was not done, or in part only: it is due again after a pause, which doubles."""
        now = self._clock()
        for name in chunks:
            state = self._states.get(name)
            if state is not None and state.given == session:
                again = state.pause * 2 if state.refused == session else 0.0
                state.pause = min(max(again, FIRST_PAUSE_S), LONGEST_PAUSE_S)
                state.given, state.refused, state.not_before = 0, session, now + state.pause

    def missing(self, chunks: Chunks, session: int) -> list[int]:
        """Which of these chunks, by index, the node was not given in this session and should be given now."""
        found, now = [], self._clock()
        for index, name in enumerate(chunks):
            if name not in self._states:
                continue
            state = self._used(name)
            if state.given != session and (state.refused != session or now >= state.not_before):
                found.append(index)
        return found

    def forget(self) -> None:
        """Bytes are filed under another identity from now on."""
        self._states.clear()

    def _used(self, name: bytes) -> _State:
        state = self._states.pop(name, None) or _State()
        self._states[name] = state
        if len(self._states) > self._most:
            del self._states[next(iter(self._states))]
        return state


def first_run(indexes: Sequence[int]) -> int:
    """How many of these ascending numbers, from the first on, follow each other."""
    count = 1
    while count < len(indexes) and indexes[count] == indexes[0] + count:
        count += 1
    return min(count, len(indexes))
