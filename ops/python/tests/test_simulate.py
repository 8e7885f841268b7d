"""The driver of the simulation: its arguments, and the curve that it draws."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvasir_ops.simulate import draw, split_plot


def test_plot_is_taken_out_of_the_engines_arguments() -> None:
    assert split_plot(["a.jsonl", "--plot", "c.svg", "--nodes", "2"]) == (["a.jsonl", "--nodes", "2"], Path("c.svg"))
    assert split_plot(["--plot=c.png"]) == ([], Path("c.png"))
    assert split_plot(["--nodes", "2"]) == (["--nodes", "2"], None)


@pytest.mark.parametrize("arguments", [["--plot"], ["--plot", "curve.pdf"]])
def test_a_plot_that_cannot_be_drawn_is_refused(arguments: list[str]) -> None:
    with pytest.raises(ValueError, match="--plot"):
        split_plot(arguments)


def test_curve_has_a_line_for_each_policy(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = [
        {"trace": "t", "nodes": 1, "sharing": "pooled", "routing": "random", "capacity": capacity, "policy": policy,
         "hitRate": rate}
        for policy in ("lru", "cost_aware")
        for capacity, rate in ((0, 0.4), (100, 0.1), (1000, 0.3))
    ]  # fmt: skip
    place = tmp_path / "curve.svg"
    draw(found, place)
    drawn = place.read_text()
    assert drawn.count('id="line2d') > 2
    assert "cost-aware" in drawn
    assert "endless cache 0.400" in drawn
