"""The tier in a real engine: OffloadingConnector, its manager, the tier and a node, on the CPU."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.integration]
pytest.importorskip("vllm")

import random  # noqa: E402
import uuid  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from engines import generate, start, tokens_of  # noqa: E402
from tinymodel import VOCABULARY, write_model  # noqa: E402

PROMPT_TOKENS = 900
BLOCK = 32


def transfer(socket: str, **tier: Any) -> dict[str, Any]:
    return {
        "kv_connector": "OffloadingConnector",
        "kv_role": "kv_both",
        "engine_id": f"kvasir-test-{uuid.uuid4().hex[:8]}",
        "kv_load_failure_policy": "recompute",
        "kv_connector_extra_config": {
            "spec_name": "CpuTieringSpec",
            "spec_module_path": "tiering.cpuspec",
            "cpu_bytes_to_use": 32 << 20,
            "secondary_tiers": [{"type": "KvasirTier", "module_path": "kvasir_vllm.tiering", "socket": socket, **tier}],
        },
    }


@pytest.fixture
def shut_down() -> Iterator[list[Any]]:
    """Engines to end at the end of the test."""
    engines: list[Any] = []
    yield engines
    for engine in engines:
        end(engine)


def end(engine: Any) -> None:
    engine.llm_engine.engine_core.shutdown()


def manager_of(engine: Any) -> Any:
    connector = engine.llm_engine.engine_core.engine_core.scheduler.connector
    return connector.connector_scheduler.manager


def forget(engine: Any) -> None:
    """Neither the engine's own cache nor vLLM's region has anything: what is found comes from the node."""
    assert engine.llm_engine.reset_prefix_cache()
    manager_of(engine).reset_cache()


def cached(outputs: list[Any]) -> int:
    return sum(output.num_cached_tokens or 0 for output in outputs)


def test_tokens_are_the_same_cold_loaded_by_another_engine_and_after_a_kill(
    own_node: Any, tmp_path: Path, shut_down: list[Any]
) -> None:
    model = write_model(tmp_path / "model")
    chosen = random.Random(5)
    prompt = [chosen.randrange(3, VOCABULARY) for _ in range(PROMPT_TOKENS)]
    wanted = PROMPT_TOKENS // BLOCK * BLOCK

    first = start(model, transfer(own_node.socket))
    shut_down.append(first)
    tier = manager_of(first).secondary_tiers[0]
    while tier._session.current() is None:
        generate(first, [[1, 2, 3]], 1)
    cold = generate(first, [prompt])
    assert cached(cold) == 0
    while manager_of(first).has_pending_work():
        generate(first, [[1, 2, 3]], 1)  # the engine steps only for requests

    forget(first)
    warm = generate(first, [prompt])
    assert cached(warm) == wanted
    assert tokens_of(warm) == tokens_of(cold)

    # One after the other: vLLM keeps a worker's connector in a global of the process.
    end(shut_down.pop())
    second = start(model, transfer(own_node.socket))
    shut_down.append(second)
    while manager_of(second).secondary_tiers[0]._session.current() is None:
        generate(second, [[1, 2, 3]], 1)
    other = generate(second, [prompt])
    assert cached(other) == wanted
    assert tokens_of(other) == tokens_of(cold)

    # Zeros instead of the pages give other tokens: what was loaded is what was computed with.
    forget(second)
    for file in own_node.dram.rglob("*.data"):
        file.write_bytes(bytes(file.stat().st_size))
    zeroed = generate(second, [prompt])
    assert cached(zeroed) == wanted
    assert tokens_of(zeroed) != tokens_of(cold)

    own_node.kill()
    forget(second)
    alone = generate(second, [prompt])
    assert cached(alone) == 0
    assert tokens_of(alone) == tokens_of(cold)
