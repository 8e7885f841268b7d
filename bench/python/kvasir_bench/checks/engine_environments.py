"""The environments of the engines that ``kvasir test --engines`` runs, made while other parts run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from kvasir_bench.environments import Environment, EnvironmentUnavailableError, prepare

# What two have in common is made once; of the rest, one is unpacked while another is downloaded.
AT_ONCE = 2


class EngineEnvironments:
    """Makes environments in threads of its own, in the given order."""

    def __init__(self, environments: Sequence[Environment]) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="environment")
        self._made = {one.name: self._threads.submit(_obstacle, one) for one in environments}
        self._threads.shutdown(wait=False)

    def obstacle(self, environment: Environment) -> str:
        """Waits until it is made: empty, or why it cannot be."""
        made: Future[str] = self._made[environment.name]
        return made.result()

    def wait(self) -> None:
        """Waits until all are made or cannot be."""
        wait(self._made.values())


def _obstacle(environment: Environment) -> str:
    try:
        prepare(environment, lambda text: print(text, file=sys.stderr, flush=True))
    except EnvironmentUnavailableError as error:
        return str(error)
    return ""
