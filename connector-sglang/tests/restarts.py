"""Rounds of loads and stores, while their node is killed and paused."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from kvasir_ops.testing import Node, until


def through_restarts(node: Node, one_round: Callable[[], int]) -> None:
    """Each fault comes once pages were loaded after the one before; a round has to end while the node is paused.

    Args:
        node: that is killed and paused.
        one_round: on a thread of its own, again and again; checks what it loads, and returns how many pages it did.
    """
    over = threading.Event()
    done = [0, 0]  # rounds, and pages loaded

    def work() -> None:
        while not over.is_set():
            done[1] += one_round()
            done[0] += 1

    def further(seen: list[int]) -> bool:
        return working.done() or all(map(operator.gt, done, seen))

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        for fault in ("kill", "pause", "kill", "pause", "kill"):
            until(partial(further, list(done)), "pages are loaded")
            if fault == "kill":
                node.kill()
                node.start()
            else:
                node.pause()
                until(partial(further, [done[0], -1]), "a round ends without the node")
                node.resume()
        over.set()
        working.result(timeout=60)
