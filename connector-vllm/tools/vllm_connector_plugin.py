"""Puts ``KvasirConnector`` where vLLM's own connector tests make one: a pytest plugin of vllm_connector_tests.py.

Those tests make a scheduler with a connector of vLLM's, put a ``Mock`` in its place and prescribe what it answers to
some calls: how many tokens it has, say. Here the scheduler is made with the real connector on a real node, and the
``Mock`` passes every call on to it for which the test prescribes nothing. Where a test wraps the example connector to
see what is called, it wraps ours.
"""

from __future__ import annotations

import importlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory
from vllm.distributed.kv_transfer.kv_connector.v1 import example_connector

from kvasir_vllm import KvasirConnector

_SOCKET = os.environ["KVASIR_SOCKET"]
#: Tests whose connector is a ``Mock``.
_MOCKED = (
    "test_kv_load_failure_recovery",
    "test_invalid_blocks_correctness",
    "test_error_propagation",
    "test_cache_pollution_prevention",
)
_made: list[InPlace] = []


def _model() -> str:
    """A model of which there is nothing but its configuration: schedulers read no more."""
    place = Path(tempfile.mkdtemp(prefix="kvasir-vllm-tests-"))
    configuration = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 50272, "hidden_size": 64,
        "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1,
        "max_position_embeddings": 16384, "torch_dtype": "float16", "bos_token_id": 2, "eos_token_id": 2,
    }  # fmt: skip
    (place / "config.json").write_text(json.dumps(configuration), encoding="utf-8")
    return str(place)


class InPlace(KvasirConnector):
    """On the tool's node, in whatever way a test configures its connector."""

    def __init__(self, vllm_config: Any, role: Any, kv_cache_config: Any) -> None:
        transfer = vllm_config.kv_transfer_config
        kept = transfer.kv_connector_extra_config
        transfer.kv_connector_extra_config = {
            "socket": _SOCKET,
            "weights_digest": "none",
            # Some tests are about that policy.
            "allow_failure_policy_fail": True,
        }
        try:
            super().__init__(vllm_config, role, kv_cache_config)
        finally:
            transfer.kv_connector_extra_config = kept
        _made.append(self)


def _pass_on(*_: Any, **__: Any) -> Mock:
    """Stands for ``Mock()``: the connector of the scheduler that was made last, except where a test prescribes."""
    return Mock(wraps=_made[-1])


def _ours(create: Any) -> Any:
    model = _model()

    def configured(**asked: Any) -> Any:
        if asked.get("kv_connector", "NixlConnector") == "NixlConnector":
            asked |= {"kv_connector": "KvasirInPlace", "kv_role": "kv_both"}
        config = create(**{"model": model, **asked})
        config.model_config.skip_tokenizer_init = True  # there is none
        return config

    return configured


KVConnectorFactory.register_connector("KvasirInPlace", __name__, InPlace.__name__)
# That of vLLM's own connectors which the test of hybrid memory takes for one that supports it.
KVConnectorFactory._registry["SimpleCPUOffloadConnector"] = lambda: InPlace
example_connector.ExampleConnector = InPlace
_utils = importlib.import_module("tests.v1.kv_connector.unit.utils")
_utils.create_vllm_config = _ours(_utils.create_vllm_config)
for _name in _MOCKED:
    _module = importlib.import_module(f"tests.v1.kv_connector.unit.{_name}")
    _module.Mock = _pass_on  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _nothing_failed() -> Iterator[None]:
    """A connector never raises into the engine: what it swallowed is a failure here."""
    yield
    failed = {name for connector in _made for name in connector._said}
    while _made:
        _made.pop().shutdown()
    assert not failed, f"the connector swallowed errors in {sorted(failed)}"
