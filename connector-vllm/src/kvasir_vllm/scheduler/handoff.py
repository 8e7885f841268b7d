"""Prefill that is handed off: what the router's ``kv_transfer_params`` say, and the key of a prompt's tail.

Whole chunks travel under the keys that they always have. The tokens behind the last of them have none: their KV travels
under a key that is drawn for one request, known to its two engines, and bound to the tokens.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kvasir_vllm.shared.chunks import Chunking

ID = "kvasir_handoff_id"
NODE = "kvasir_handoff_node"

_log = logging.getLogger("vllm.kvasir")
_WELL_FORMED = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Tail:
    """The end of a prompt.

    Attributes:
        key: 32 bytes; nobody finds it who was not given the request's id.
        begin, end: tokens; the last chunk's end, and the prompt's.
    """

    key: bytes
    begin: int
    end: int


@dataclass(frozen=True)
class Handoff:
    """One request's half of a prefill that another engine does, or did.

    Attributes:
        id: drawn by the router for one request.
        node: where this engine's chunks are sent; empty on the side that takes them.
    """

    id: str
    node: str

    @property
    def gives(self) -> bool:
        """Whether this engine computes for another one."""
        return bool(self.node)

    @staticmethod
    def of(request: Any) -> Handoff | None:
        """What a request's ``kv_transfer_params`` say; None when it is not handed off."""
        given = getattr(request, "kv_transfer_params", None)
        if not isinstance(given, Mapping) or not (ID in given or NODE in given):
            return None
        name, node = given.get(ID), given.get(NODE, "")
        if not isinstance(name, str) or not _WELL_FORMED.fullmatch(name) or not isinstance(node, str):
            _log.warning("Kvasir: %s must be 32 hex digits and %s a node's name; a request had others", ID, NODE)
            return None
        return Handoff(name, node)

    def tail(self, request: Any, chunking: Chunking) -> Tail | None:
        """The prompt's tokens behind its last whole chunk; None: there are none, or their KV depends on more."""
        end = request.num_prompt_tokens
        begin = end // chunking.chunk * chunking.chunk
        hashed = end // chunking.hashed
        if begin == end or len(request.block_hashes) < hashed or getattr(request, "prompt_embeds", None) is not None:
            return None
        rest = hashed * chunking.hashed
        for feature in getattr(request, "mm_features", None) or ():
            # The engine's hashes name an image by its contents; the tokens that stand for it do not.
            if feature.mm_position.offset + feature.mm_position.length > rest:
                return None
        digest = hashlib.sha256()
        for part in (
            b"kvasir handed-off tail",
            self.id.encode(),
            bytes(request.block_hashes[hashed - 1]) if hashed else b"",
            (getattr(request, "cache_salt", None) or "").encode(),
            np.asarray(request.prompt_token_ids[rest:end], dtype="<i8").tobytes(),
        ):
            digest.update(len(part).to_bytes(8, "little") + part)
        return Tail(digest.digest(), begin, end)
