"""The engine itself, without a connector: what the other tests rely on."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from engines import generate, start, tokens_of
from tinymodel import VOCABULARY, write_model

pytestmark = pytest.mark.engine


def test_tiny_model_gives_other_tokens_for_another_prompt(tmp_path: Path) -> None:
    engine = start(write_model(tmp_path / "model"))
    chosen = random.Random(1)
    prompts = [[chosen.randrange(3, VOCABULARY) for _ in range(300)] for _ in range(3)]
    first = tokens_of(generate(engine, prompts))
    assert first == tokens_of(generate(engine, prompts))
    assert len({tuple(tokens) for tokens in first}) == 3
