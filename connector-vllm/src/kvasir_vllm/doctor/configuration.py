"""Checks of what an engine will be started with: vLLM's KV transfer configuration, or its configuration file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from kvasir import Client, KvasirError
from kvasir.engine.options import ConfigurationError

from kvasir_vllm.doctor.findings import Finding, note, ok, problem
from kvasir_vllm.shared.chunks import chunk_tokens_of
from kvasir_vllm.shared.options import THE_FLAG, ConnectorOptions

_ATTACH_SECONDS = 3.0
_SHARED_ALGORITHMS = ("sha256", "sha256_cbor")


def read(text: str) -> dict[str, Any]:
    """vLLM's settings: from a file (YAML, JSON), or the JSON of ``--kv-transfer-config`` itself.

    Raises:
        ConfigurationError: neither.
    """
    try:
        given = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(Path(text).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{text}: neither a URL, nor JSON, nor a file of settings: {error}") from error
    if not isinstance(given, dict):
        raise ConfigurationError(f"{text}: must be a mapping of settings; seen: {type(given).__name__}")
    named = {str(name).replace("-", "_"): value for name, value in given.items()}
    return {"kv_transfer_config": named} if "kv_connector" in named else named


def check(settings: Mapping[str, Any]) -> list[Finding]:
    """Everything that can be said before the engine runs."""
    transfer = settings.get("kv_transfer_config")
    if isinstance(transfer, str):
        transfer = json.loads(transfer)
    if not isinstance(transfer, Mapping):
        return [problem("there is no kv_transfer_config: the engine runs without Kvasir", f"start it with {THE_FLAG}")]
    found = [_connector(transfer), _policy(transfer), _role(transfer), *_sharing(settings)]
    if transfer.get("kv_connector") != "KvasirConnector":
        return found
    try:
        options = ConnectorOptions.of(transfer.get("kv_connector_extra_config") or {})
    except ConfigurationError as error:
        return [*found, problem(str(error), "correct kv_connector_extra_config; docs/vllm.md has every option")]
    found.append(_chunk(settings, options))
    if not options.load or not options.store:
        off = "load" if not options.load else "store"
        found.append(note(f"{off} is off", f"remove {off} from kv_connector_extra_config if that is not wanted"))
    return [*found, reachable(options.socket, options.token)]


def _connector(transfer: Mapping[str, Any]) -> Finding:
    name = transfer.get("kv_connector")
    if name == "OffloadingConnector":
        tiers = (transfer.get("kv_connector_extra_config") or {}).get("secondary_tiers") or []
        if any(isinstance(tier, Mapping) and tier.get("type") == "KvasirTier" for tier in tiers):
            return ok("kv_connector is OffloadingConnector with the tier KvasirTier")
        return problem("kv_connector is OffloadingConnector without the tier KvasirTier", "see docs/vllm-tiering.md")
    if name != "KvasirConnector":
        return problem(f"kv_connector is {name!r}", f"start the engine with {THE_FLAG}")
    if transfer.get("kv_connector_module_path") not in (None, "kvasir_vllm"):
        return problem(
            f"kv_connector_module_path is {transfer['kv_connector_module_path']!r}", "it must be 'kvasir_vllm'"
        )
    return ok("kv_connector is KvasirConnector")


def _policy(transfer: Mapping[str, Any]) -> Finding:
    policy = transfer.get("kv_load_failure_policy", "fail")
    if policy == "recompute":
        return ok("kv_load_failure_policy is recompute: a load that fails is computed")
    return problem(
        f"kv_load_failure_policy is {policy!r}: a request whose load fails ends with an error",
        'set "kv_load_failure_policy": "recompute"',
    )


def _role(transfer: Mapping[str, Any]) -> Finding:
    role = transfer.get("kv_role")
    if role in ("kv_both", "kv_producer"):
        return ok(f"kv_role is {role}")
    if role == "kv_consumer":
        return note("kv_role is kv_consumer: this engine loads and stores nothing", "others have to store")
    return problem(f"kv_role is {role!r}", "set it to kv_both")


def _sharing(settings: Mapping[str, Any]) -> list[Finding]:
    found = []
    if settings.get("enable_prefix_caching") is False or settings.get("no_enable_prefix_caching"):
        found.append(problem("prefix caching is off: blocks have no hashes", "remove --no-enable-prefix-caching"))
    algorithm = settings.get("prefix_caching_hash_algo", "sha256")
    if algorithm not in _SHARED_ALGORITHMS:
        found.append(
            problem(
                f"prefix_caching_hash_algo is {algorithm}: without PYTHONHASHSEED its hashes differ in every process",
                "use sha256, or set PYTHONHASHSEED to the same value for every engine",
            )
        )
    return found


def _chunk(settings: Mapping[str, Any], options: ConnectorOptions) -> Finding:
    block = settings.get("block_size")
    if not isinstance(block, int) or block < 1:
        size = (
            f"{options.chunk_tokens} tokens" if options.chunk_tokens else "256 tokens, or the next multiple of a block"
        )
        return note(f"a chunk has {size}: shorter prompts never hit")
    try:
        tokens = chunk_tokens_of(block, options.chunk_tokens)
    except ConfigurationError as error:
        return problem(str(error), f"set chunk_tokens to a multiple of {block}")
    return note(f"a chunk has {tokens} tokens: shorter prompts never hit", "chunk_tokens may be as small as one block")


def reachable(socket: str, token: str) -> Finding:
    """Whether the node answers on its socket, for this user."""
    try:
        with Client.connect(
            socket, name="doctor", token=token.encode(), deadline=_ATTACH_SECONDS, attach_deadline=_ATTACH_SECONDS
        ) as client:
            client.ping()
    except KvasirError as error:
        return problem(
            f"the node on {socket} does not answer: {error}",
            "start it (./kvasir node), or set socket to engine.socket of its configuration; in containers both must "
            "share the socket's directory and /dev/shm",
        )
    return ok(f"the node on {socket} answers")
