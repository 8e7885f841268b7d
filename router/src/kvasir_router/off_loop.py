"""Work that would keep the event loop from other requests, in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, TypeVar

#: Requests up to this size are worked on in the event loop: a thread costs more than it saves.
_SMALL_BYTES: Final = 64 << 10
#: The work is Python's own, so more threads would only take turns, and the event loop would wait for all of them.
_THREADS = ThreadPoolExecutor(2, thread_name_prefix="router-work")
_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


async def off_loop(size: int, function: Callable[_Given, _Made], *given: _Given.args, **named: _Given.kwargs) -> _Made:
    """``function(...)``, in a thread when the ``size`` in bytes of what it works on is large.

    A call that is cancelled before its thread has begun is not made.
    """
    if size <= _SMALL_BYTES:
        return function(*given, **named)
    return await asyncio.get_running_loop().run_in_executor(_THREADS, partial(function, *given, **named))
