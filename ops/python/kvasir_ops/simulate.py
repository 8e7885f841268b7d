"""Runs the simulation engine (``kvasir simulate``, Java) and draws its outcomes.

The launcher calls this module when a curve is to be drawn; the benchmark suite ``cluster`` calls :func:`outcomes`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kvasir_ops import home as checkout

HEAP = "-Xmx2g"
BOUND_S = 3600
_COLOURS = {"cost_aware": "#2f6fb0", "lru": "#8a94a0", "s3_fifo": "#d08a2e"}
_TITLES = {"cost_aware": "cost-aware", "lru": "LRU", "s3_fifo": "S3-FIFO"}


def command(home: Path, *arguments: str) -> list[str]:
    """The engine's command; ``KVASIR_BUILD`` and ``JAVA_HOME`` come from the launcher."""
    build, jdk = os.environ.get("KVASIR_BUILD"), os.environ.get("JAVA_HOME")
    if not build or not jdk:
        raise RuntimeError("KVASIR_BUILD and JAVA_HOME are not set: start this with ./kvasir")
    flags = [f"@{home}/ops/jvm.args", f"@{home}/ops/node.jvm.args", HEAP, f"@{build}/classpath.args"]
    return [f"{jdk}/bin/java", *flags, "io.kvasir.ops.Kvasir", "simulate", *arguments]


def outcomes(home: Path, *arguments: str, quiet: bool = True) -> list[dict[str, Any]]:
    """What the engine found, one dictionary for each combination; docs/simulate.md lists the fields.

    Raises:
        RuntimeError: the engine ended with an error, which it has printed.
    """
    with tempfile.TemporaryDirectory(prefix="kvasir-simulate-") as place:
        document = Path(place) / "outcomes.json"
        status = subprocess.run(
            command(home, *arguments, "--json", str(document)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if quiet else None,
            timeout=BOUND_S,
        ).returncode
        if status != 0:
            raise RuntimeError(f"kvasir simulate ended with status {status}")
        result: list[dict[str, Any]] = json.loads(document.read_text())
        return result


def draw(found: Sequence[dict[str, Any]], place: Path) -> None:
    """Hit rate over all nodes' capacity, one panel for each trace and one line for each policy (svg or png)."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    mpl.rcParams["svg.hashsalt"] = "kvasir"
    traces = list(dict.fromkeys(one["trace"] for one in found))
    figure, axes = pyplot.subplots(
        1, len(traces), figsize=(5.4 * len(traces), 3.8), layout="constrained", squeeze=False
    )
    for axis, trace in zip(axes[0], traces, strict=True):
        mine = [one for one in found if one["trace"] == trace]
        lines = dict.fromkeys((one["policy"], one["nodes"], one["sharing"], one["routing"]) for one in mine)
        plain = len({line[1:] for line in lines}) == 1
        for line in lines:
            policy, nodes, sharing, routing = line
            points = sorted(
                (one["capacity"] * one["nodes"], one["hitRate"])
                for one in mine
                if (one["policy"], one["nodes"], one["sharing"], one["routing"]) == line and one["capacity"]
            )
            label = _TITLES.get(policy, policy)
            if not plain:
                label += f", {nodes} nodes {sharing}, {routing}" if nodes > 1 else ", one node"
            style = "-" if nodes == 1 or plain else {"pooled": "--", "ideal": "-.", "local": ":"}[sharing]
            if points:
                axis.plot(*zip(*points, strict=True), style, marker="o", ms=3, color=_COLOURS.get(policy), label=label)
        endless = [one["hitRate"] for one in mine if not one["capacity"]]
        if endless:
            axis.axhline(max(endless), color="#444444", lw=0.8, ls=(0, (4, 4)))
            axis.annotate(
                f"endless cache {max(endless):.3f}", (0.02, max(endless)), xycoords=("axes fraction", "data"),
                xytext=(0, 3), textcoords="offset points", fontsize=8, color="#444444",
            )  # fmt: skip
        axis.set(title=trace.replace("_", " "), xlabel="capacity of all nodes, chunks", xscale="log", ylim=(0, None))
        axis.margins(y=0.1)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.25)
    axes[0][0].set_ylabel("hit rate (leading chunks)")
    axes[0][-1].legend(frameon=False, fontsize=8, loc="lower right")
    place.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(place, metadata={"Date": None} if place.suffix == ".svg" else None)
    pyplot.close(figure)


def split_plot(arguments: Sequence[str]) -> tuple[list[str], Path | None]:
    """The engine's arguments, and the value of ``--plot FILE`` or ``--plot=FILE``."""
    rest: list[str] = []
    place: Path | None = None
    given = iter(arguments)
    for argument in given:
        if argument == "--plot":
            value = next(given, None)
            if value is None:
                raise ValueError("--plot needs the file to draw into, such as curve.svg")
            place = Path(value)
        elif argument.startswith("--plot="):
            place = Path(argument.removeprefix("--plot="))
        else:
            rest.append(argument)
    if place is not None and place.suffix not in (".svg", ".png"):
        raise ValueError(f"--plot is {place}; the file must end in .svg or .png")
    return rest, place


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the engine as asked and draws what it found; the exit status is the engine's."""
    try:
        rest, place = split_plot(sys.argv[1:] if arguments is None else arguments)
    except ValueError as wrong:
        print(f"kvasir simulate: {wrong}", file=sys.stderr)
        return 2
    home = checkout()
    if place is None:
        return subprocess.run(command(home, *rest), timeout=BOUND_S).returncode
    if any(argument.startswith("--json") for argument in rest):
        print("kvasir simulate: give either --json or --plot", file=sys.stderr)
        return 2
    try:
        found = outcomes(home, *rest, quiet=False)
    except RuntimeError as failed:
        print(f"kvasir simulate: {failed}", file=sys.stderr)
        return 1
    draw(found, place)
    print(f"wrote {place}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
