"""An engine that starts before its node: what it computed alone is stored when it is used again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import prompts
from engine_process import Engine, transfer
from kvasir_ops.testing import Node, until
from test_faults import right

pytestmark = [pytest.mark.engine, pytest.mark.integration, pytest.mark.one_version]

Plain = Callable[..., list[list[int]]]


def test_prompt_that_was_computed_before_there_was_a_node_is_loaded_by_another_engine(
    model: Path, plain: Plain, tmp_path: Path
) -> None:
    asked = prompts(1, seed=300)
    with Node() as late:
        late.kill()
        with Engine(model, tmp_path / "first.log", transfer(late.socket)) as engine:
            assert right(engine, plain, asked) == [0]
            late.start()
            until(lambda: "attached to the node" in engine.log, "the engine has its node")
            # Its own cache has all blocks but the one with the prompt's last tokens.
            assert right(engine, plain, asked) == [896]
            engine.ask("drain")
        with Engine(model, tmp_path / "second.log", transfer(late.socket)) as other:
            assert right(other, plain, asked) == [768]
