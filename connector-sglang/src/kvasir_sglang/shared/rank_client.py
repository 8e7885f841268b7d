"""What the storage and the linker of one rank use: the engine's identity, its sessions with the node, its calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from kvasir import Copies, KvasirError, Shard
from kvasir.engine.log import SeldomLog
from kvasir.engine.weights import UnknownWeightsError
from sglang.srt.mem_cache import utils as sglang_hashes

from kvasir_sglang.shared.connection import Connection
from kvasir_sglang.shared.generations import Generations
from kvasir_sglang.shared.identity import EngineIdentity, Ranks
from kvasir_sglang.shared.metrics import logger
from kvasir_sglang.shared.options import SECTION, EngineOptions
from kvasir_sglang.shared.pages import PoolPages
from kvasir_sglang.shared.transfer import PoolPlace, Transfer
from kvasir_sglang.shared.weights import Weights, weights_of

#: SGLang's name of the pool that all others stand beside.
KV: Final = "kv"


class RankClient:
    """One rank's use of the node. Pages that the storage and the linker place equally are found through both.

    Args:
        extra_config: SGLang's; ``extra_config["kvasir"]`` holds our :class:`EngineOptions`.
        ranks: where this rank stands.
        model_name: as the engine serves it, for people.
        copier: makes what moves the bytes, for memory that the processor cannot address.
        server_args: SGLang's, for the weights; None: those that this process was started with.

    Raises:
        ValueError: an option that is wrong, weights that nothing names, or an SGLang whose page hashes leave out LoRA
            adapter and cache salt. Refused here, before anything is shared.
    """

    def __init__(
        self,
        extra_config: Mapping[str, Any] | None,
        ranks: Ranks,
        model_name: str | None,
        copier: Callable[[], Copies] | None = None,
        server_args: Any = None,
    ) -> None:
        if not hasattr(sglang_hashes, "storage_namespace_seed"):
            raise ValueError(
                "the page hashes of this SGLang leave out LoRA adapter and cache salt, so sharing pages is not safe; "
                "use version 0.5.23 or newer"
            )
        self.options = EngineOptions.of(extra_config)
        self.ranks = ranks
        server_args = server_args or _server_args()
        self._weights = self._served(model_name, server_args)
        self._generation = self.options.generation
        self._generations = Generations(ranks, server_args)
        self._name = (
            f"sglang {model_name or self._weights.model} "
            f"tp{ranks.tp_rank}/{ranks.tp_size} pp{ranks.pp_rank}/{ranks.pp_size}"
        )
        self._copier = copier
        self.transfer = Transfer(self.options)
        self._log = SeldomLog(logger)
        self._lock = threading.Lock()
        self._connections: dict[Shard, Connection] = {}

    def _served(self, model_name: str | None, server_args: Any) -> Weights:
        try:
            return weights_of(server_args, self.options.model)
        except UnknownWeightsError as error:
            raise ValueError(
                f"{error} (served as {model_name!r}). Set {SECTION}.model to a name that stands for exactly "
                f"these weights"
            ) from error

    def place(self, name: str, pages: PoolPages, page_tokens: int, *, split: bool, order: str = "") -> PoolPlace:
        """Where a pool's pages are in the node; connects when nothing has before.

        Args:
            name: SGLang's, of the pool.
            pages: the pool's.
            page_tokens: of the engine's pages.
            split: whether each tensor-parallel rank has bytes of its own.
            order: see :meth:`kvasir_sglang.shared.identity.EngineIdentity.namespace`.
        """
        identity = EngineIdentity(self.ranks, self._weights, page_tokens, self._generation)
        namespace = identity.namespace(name, pages, split=split, order=order)
        return PoolPlace(self._connection(self.ranks.shard(split)), namespace, pages.page_bytes)

    def _connection(self, shard: Shard) -> Connection:
        with self._lock:
            connection = self._connections.get(shard)
            if connection is None:
                connection = self._connections[shard] = Connection(self.options, shard, self._name, self._copier)
            return connection

    def open(self, place: PoolPlace) -> None:
        """Waits a little for the node, so that the first request does not pay for it; later it is opened by itself."""
        if place.connection.wait(self.options.connect_wait_ms / 1000):
            try:
                place.connection.client.open_namespace(place.namespace)
            except KvasirError as error:
                self._log.warn("the namespace is opened later", error)

    def forget(self) -> None:
        """What is placed from now on finds nothing that was stored before, by this process or an earlier one."""
        self._generation = self._generations.draw()

    def close(self) -> None:
        """Ends this rank's sessions. Pages stay in the node."""
        self.transfer.close()
        for connection in self._connections.values():
            connection.close()


def _server_args() -> Any:
    try:
        from sglang.srt.runtime_context import get_server_args

        return get_server_args()
    except Exception:  # outside a server there are none, and each version says so in its own way
        return None
