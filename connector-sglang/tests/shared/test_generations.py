from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from kvasir_sglang.shared.generations import Generations
from kvasir_sglang.shared.identity import Ranks

PROCESS = """
from types import SimpleNamespace
from kvasir_sglang.shared.generations import Generations
from kvasir_sglang.shared.identity import Ranks
for replicated in (False, True):
    arguments = SimpleNamespace(port=30000, random_seed=7, nnodes=1)
    drawn = Generations(Ranks(tp_size=2, replicated=replicated), arguments, lambda: 1000.0)
    print(drawn.draw(), drawn.draw())
"""
LAUNCHER = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {PROCESS!r}], check=True)"


def drawn(code: str) -> list[list[int]]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return [[int(number) for number in line.split()] for line in output.splitlines()]


def test_no_process_comes_to_the_generations_of_another() -> None:
    # Each with a launcher of its own, as two runs of one engine have, at the same time of day and addresses.
    first, second = drawn(LAUNCHER), drawn(LAUNCHER)
    numbers = [number for process in (first, second) for row in process for number in row]
    assert len(set(numbers)) == len(numbers) == 8
    assert all(0 < number < 1 << 63 for number in numbers)


def test_ranks_that_hold_the_same_pages_come_to_one_generation() -> None:
    # Started by this process, as the ranks of an engine are by theirs.
    (own, same), (other, again) = drawn(PROCESS), drawn(PROCESS)
    assert same == again
    assert not set(own) & set(other)


@pytest.mark.parametrize(
    "different", [{"port": 30001}, {"dist_init_addr": "a:1"}, {"random_seed": 8}, {"time": 3600.0}]
)
def test_another_engine_or_time_is_another_generation(different: dict[str, Any]) -> None:
    def of(time: float = 0.0, **arguments: Any) -> int:
        given = SimpleNamespace(**({"port": 30000, "random_seed": 7} | arguments))
        return Generations(Ranks(tp_size=2, replicated=True), given, lambda: time).draw()

    assert of() == of()
    assert of(**different) != of()
