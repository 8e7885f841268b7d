"""What a running engine tells about itself at ``/metrics``, for tools that have to name what it names.

``vllm:kvasir_namespace_info{identity="..."} 1``, from the engine's first request on. The identity is JSON. The seed of
the hashes is not told (it keeps hashes unpredictable) but a digest of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from kvasir import Namespace, Shard

METRIC: Final = "vllm:kvasir_namespace_info"
_UNSET: Final = "unset"


@dataclass(frozen=True)
class Published:
    """An engine's identity.

    Attributes:
        namespace: with a digest in place of the seed.
        shards: everything that one of its chunks consists of.
        hash_tokens: tokens that one block hash stands for.
        private: why it shares with nobody; empty: it shares.
    """

    namespace: Namespace
    shards: tuple[Shard, ...]
    hash_tokens: int
    private: str = ""

    @staticmethod
    def of(namespace: Namespace, shards: Sequence[Shard], hash_tokens: int, private: str) -> Published:
        """From the engine's own; hides the seed."""
        return Published(
            replace(namespace, hash_seed=_hidden(namespace.hash_seed)), tuple(shards), hash_tokens, private
        )

    def text(self) -> str:
        """As a label's value."""
        return json.dumps(
            {
                "namespace": readable(self.namespace),
                "shards": [list(vars(shard).values()) for shard in self.shards],
                "hash_tokens": self.hash_tokens,
                "private": self.private,
            },
            sort_keys=True,
            separators=(",", ":"),
        )

    @staticmethod
    def parse(text: str) -> Published:
        """The other way.

        Raises:
            ValueError: it is none, or one of another version.
        """
        try:
            told = json.loads(text)
            named = dict(told["namespace"])
            named["weights_digest"] = bytes.fromhex(named["weights_digest"])
            return Published(
                Namespace(**named),
                tuple(Shard(*values) for values in told["shards"]),
                int(told["hash_tokens"]),
                str(told["private"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no identity of this version: {error}") from error

    def with_seed(self, environment: str | None) -> Namespace | None:
        """The namespace itself, by a process that knows the seed; None: ``environment`` is another one.

        Args:
            environment: PYTHONHASHSEED as the engine has it; None or empty: unset.
        """
        seed = environment or _UNSET
        return replace(self.namespace, hash_seed=seed) if _hidden(seed) == self.namespace.hash_seed else None


def _hidden(seed: str) -> str:
    return seed if seed == _UNSET else "digest " + hashlib.sha256(f"kvasir {seed}".encode()).hexdigest()[:16]


def readable(namespace: Namespace) -> dict[str, Any]:
    """A namespace's fields for people and for JSON."""
    found = {field.name: getattr(namespace, field.name) for field in fields(Namespace)}
    return {**found, "weights_digest": namespace.weights_digest.hex(), "extra": dict(namespace.extra)}


def differences(one: Namespace, other: Namespace) -> list[tuple[str, str, str]]:
    """Fields in which two namespaces differ: name, value in the one, value in the other.

    The layout is compared part by part where it is a list of parts or JSON, so that the answer fits a line.
    """
    found: list[tuple[str, str, str]] = []
    first, second = readable(one), readable(other)
    for name in first:
        if first[name] == second[name]:
            continue
        if name == "extra":
            for key in sorted(first[name].keys() | second[name].keys()):
                left, right = first[name].get(key, "(none)"), second[name].get(key, "(none)")
                if left != right:
                    found.append((f"extra.{key}", left, right))
        elif name == "layout":
            parts = [set(text.split("; ")) for text in (first[name], second[name])]
            found.append((name, _shown(parts[0] - parts[1]), _shown(parts[1] - parts[0])))
        else:
            found.append((name, str(first[name]), str(second[name])))
    return found


def _shown(parts: set[str]) -> str:
    return "; ".join(sorted(parts)) or "(nothing more)"
