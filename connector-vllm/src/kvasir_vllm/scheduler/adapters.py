"""Which LoRA adapter a request is computed with, told by the adapter's files; vLLM's own keys have its name alone.

Owned by the scheduler's half. Files are read on threads of its own: the scheduler asks and is never kept waiting.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from kvasir.engine.weights import UnknownWeightsError, digest_of_adapter, directory_of

_log = logging.getLogger("vllm.kvasir")
_THREADS: Final = 2
#: Adapters that are kept; of more, the one that was used least recently is looked at as if it were new.
_MOST: Final = 10_000


@dataclass(eq=False)
class Adapter:
    """Of one request.

    Attributes:
        lora: the namespace's field; empty for the model itself.
        known: whether ``lora`` says which adapter it is. Until then nothing is loaded or stored for the request.
        pending: whether it will be known, or refused, soon.
    """

    lora: str = ""
    known: bool = False
    pending: bool = True


_NONE: Final = Adapter(known=True, pending=False)


@dataclass
class _Seen:
    """What a name stands for: the digest of its first files, and whether it has stood for others as well."""

    digest: str
    refused: bool = False


class Adapters:
    """Looks adapters up for requests.

    An adapter's files are looked at once more for each request, since they may be written anew, or loaded anew under
    the same name (``load_inplace``). An engine keeps its own KV by name alone, so a name that has stood for two
    adapters in it is not shared any more, until everything is forgotten.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, "kvasir-adapter")
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._waiting: dict[tuple[str, str], Adapter] = {}
        self._said: set[str] = set()

    def of(self, request: Any) -> Adapter:
        """The request's. Requests that come while its files are read share the answer."""
        lora = request.lora_request
        if lora is None:
            return _NONE
        place = (str(lora.lora_name), str(lora.lora_path))
        with self._lock:
            adapter = self._waiting.get(place)
            if adapter is None:
                adapter = self._waiting[place] = Adapter()
                try:
                    self._pool.submit(self._look, place, adapter, lora)
                except RuntimeError:  # closed
                    adapter.pending = False
                    del self._waiting[place]
        return adapter

    def forget(self) -> None:
        """The engine has emptied its own cache: a name may stand for another adapter from now on."""
        with self._lock:
            self._seen.clear()

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _look(self, place: tuple[str, str], adapter: Adapter, lora: Any) -> None:
        name, path = place
        digest, why = "", ""
        try:
            if getattr(lora, "tensorizer_config_dict", None):
                why = "its weights come from tensorizer, and not from files"
            else:
                digest = digest_of_adapter(path, _say).hex()
        except UnknownWeightsError as error:
            why = str(error)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
        if digest and getattr(lora, "is_3d_lora_weight", False):
            digest += " 3d"  # the same files, read in another way
        with self._lock:
            if why and directory_of(path, None) is not None:
                self._same(name, "unreadable")  # whatever the engine has read there, it is not known
            if digest and not self._same(name, digest):
                digest, why = "", (
                    "its files changed, or other ones were loaded under its name, while this engine runs; reset the "
                    "prefix cache with reset_connector=true, or load it under another name"
                )  # fmt: skip
            if why and name not in self._said and len(self._said) < _MOST:
                self._said.add(name)
                _log.warning("Kvasir: nothing is shared for the LoRA adapter %s: %s", name, why)
            adapter.lora, adapter.known = digest, bool(digest)
            adapter.pending = False
            del self._waiting[place]

    def _same(self, name: str, digest: str) -> bool:
        """Whether the name stands for what it has always stood for."""
        seen = self._seen.setdefault(name, _Seen(digest))
        self._seen.move_to_end(name)
        while len(self._seen) > _MOST:
            self._seen.popitem(last=False)
        seen.refused |= seen.digest != digest
        return not seen.refused


def _say(text: str) -> None:
    _log.info("Kvasir: %s", text)
