"""What the connector refuses to start with: each with its reason."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("vllm", reason="runs in the environment of ./kvasir test --engines")

from kvasir_vllm.shared.errors import UnsupportedEngineError
from kvasir_vllm.shared.topology import refuse_what_is_not_served

pytestmark = pytest.mark.engine


def configuration(**changes: dict[str, Any]) -> Any:
    """vLLM's, of a model that is served, but for ``changes``."""
    parts: dict[str, dict[str, Any]] = {
        "parallel": {"decode_context_parallel_size": 1},
        "model": {"is_encoder_decoder": False, "enable_sleep_mode": False, "use_mla": False},
        "cache": {"calculate_kv_scales": False},
        "device": {"device_type": "cuda"},
    }
    speculative = changes.pop("speculative", None)
    for part, values in changes.items():
        parts[part] |= values
    made = {f"{part}_config": SimpleNamespace(**values) for part, values in parts.items()}
    return SimpleNamespace(**made, speculative_config=speculative and SimpleNamespace(**speculative))


NO_GROUPS = SimpleNamespace(kv_cache_groups=[])


def test_what_is_served_is_not_refused() -> None:
    refuse_what_is_not_served(configuration(), NO_GROUPS)
    refuse_what_is_not_served(configuration(model={"use_mla": True}), NO_GROUPS)
    refuse_what_is_not_served(configuration(speculative={"method": "ngram"}), NO_GROUPS)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"parallel": {"decode_context_parallel_size": 2}}, "context parallelism"),
        ({"model": {"is_encoder_decoder": True}}, "encoder-decoder"),
        ({"speculative": {"method": "eagle"}}, "speculative decoding with eagle"),
        ({"cache": {"calculate_kv_scales": True}}, "calculate_kv_scales"),
        ({"model": {"enable_sleep_mode": True}}, "sleep mode is not served on a GPU"),
        ({"model": {"use_mla": True}, "device": {"device_type": "cpu"}}, "MLA is not served on the CPU"),
    ],
)
def test_what_could_give_wrong_bytes_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnsupportedEngineError, match=reason):
        refuse_what_is_not_served(configuration(**changes), NO_GROUPS)
