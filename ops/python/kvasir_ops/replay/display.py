"""How a replay shows itself: a live panel on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kvasir_ops.replay.tally import NodeTally, Tally

GB = 1e9
UP = "up"
TIER_WORDS = {"dram": "DRAM", "ssd": "SSD", "remote": "other nodes"}
_BAR_WIDTH = 34
_PLAIN_EVERY_SECONDS = 3.0


@dataclass
class Scene:
    """What there is to show; who runs the replay changes it, the display reads it.

    ``nodes`` has a word for the state of each node, by name; one node alone is not shown.
    """

    tally: Tally
    title: str = "Kvasir"
    phase: str = "starting"
    nodes: dict[str, str] = field(default_factory=dict)
    started_at: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started_at


class Display(Protocol):
    """A way to show a scene; a context manager. ``refresh`` is called often, ``event`` for what stays in sight."""

    def __enter__(self) -> Display: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def refresh(self) -> None:
        """Shows the scene as it is now, or not yet."""

    def event(self, text: str) -> None:
        """Says something that stays."""


class PlainDisplay:
    """Lines for logs."""

    def __init__(self, console: Console, scene: Scene) -> None:
        self._console = console
        self._scene = scene
        self._last = 0.0

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def refresh(self) -> None:
        """A line every few seconds."""
        if time.monotonic() - self._last < _PLAIN_EVERY_SECONDS:
            return
        self._last = time.monotonic()
        tally = self._scene.tally
        self._say(
            f"{self._scene.phase}: {tally.done}/{len(tally.requests)} requests, "
            f"hits {tally.hit_rate:.1%} ({hits_by_tier(tally.hits)}), "
            f"load {tally.load_bytes_per_s / GB:.2f} GB/s, "
            f"{tally.tokens_not_recomputed:,} tokens not recomputed, wrong bytes {tally.wrong_bytes}"
        )

    def event(self, text: str) -> None:
        """A line at once."""
        self._say(text)

    def _say(self, text: str) -> None:
        self._console.print(f"[{self._scene.seconds:5.1f} s] {text}", markup=False, highlight=False, soft_wrap=True)


class LiveDisplay:
    """A panel that is drawn again several times a second."""

    def __init__(self, console: Console, scene: Scene) -> None:
        self._scene = scene
        self._console = console
        self._live = Live(console=console, refresh_per_second=8, transient=True, get_renderable=self._panel)

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def refresh(self) -> None:
        """Nothing: the panel draws itself."""

    def event(self, text: str) -> None:
        """A line above the panel."""
        self._console.print(event_line(self._scene.seconds, text))

    def _panel(self) -> RenderableType:
        return panel(self._scene)


def hits_by_tier(hits: Mapping[str, int]) -> str:
    """Counts of hits with the names of the tiers; of other nodes only when there were any."""
    return ", ".join(
        f"{TIER_WORDS[tier]} {hits.get(tier, 0):,}" for tier in TIER_WORDS if tier != "remote" or hits.get(tier)
    )


def event_line(seconds: float, text: str) -> Table:
    """Something that happened, and when."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    grid.add_row(f"{seconds:5.1f} s", Text(text))
    return grid


def panel(scene: Scene) -> Panel:
    """The scene as it is now."""
    tally = scene.tally
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", min_width=22)
    grid.add_column(width=_BAR_WIDTH)
    grid.add_column(justify="right")
    total = max(1, len(tally.requests))
    _row(grid, "requests", tally.done / total, f"{tally.done:,} / {total:,}", "cyan")
    _row(grid, "hits, all tiers", tally.hit_rate, f"{tally.hit_rate:.1%}", "green")
    pooled = len(scene.nodes) > 1
    for tier, colour in (("dram", "green"), ("ssd", "yellow"), ("remote", "blue")):
        count = tally.hits.get(tier, 0)
        share = count / tally.chunks if tally.chunks else 0.0
        if pooled or tier != "remote":
            _row(grid, f"  from {TIER_WORDS[tier]}", share, f"{count:,} ({share:.1%})", colour)
    if pooled:
        _row(grid, "hits, each node alone", tally.local_only_hit_rate, f"{tally.local_only_hit_rate:.1%}", "dim")
    share = tally.tokens_not_recomputed / tally.tokens if tally.tokens else 0.0
    _row(grid, "tokens not recomputed", share, f"{tally.tokens_not_recomputed:,}", "magenta")
    figures = Text.assemble(
        ("load ", "dim"), f"{tally.load_bytes_per_s / GB:.2f} GB/s", ("   store ", "dim"),
        f"{tally.store_bytes_per_s / GB:.2f} GB/s", ("   verified ", "dim"), f"{tally.verified_bytes / GB:.2f} GB",
        ("   wrong bytes ", "dim"), (str(tally.wrong_bytes), "bold red" if tally.wrong_bytes else "bold green"),
    )  # fmt: skip
    parts: list[RenderableType] = [grid, Text(), figures]
    if pooled:
        parts += [Text(), _nodes(scene)]
    return Panel(
        Group(*parts),
        title=f"[bold]{scene.title}[/]  {scene.phase}",
        title_align="left",
        subtitle=f"{scene.seconds:.0f} s",
        subtitle_align="right",
        border_style="red" if "kill" in scene.phase else "blue",
        width=88,
        padding=(1, 2),
    )


def _nodes(scene: Scene) -> Table:
    grid = Table.grid(padding=(0, 2))
    for name, state in scene.nodes.items():
        tally = scene.tally.nodes.get(name, NodeTally())
        grid.add_row(
            Text.assemble(("\u25cf ", "green" if state == UP else "red"), name),
            Text(state, style="" if state == UP else "bold red"),
            Text(f"{tally.requests:,} requests"),
            Text(f"hits {tally.hit_rate:.1%}"),
            Text(f"{tally.remote_hits:,} chunks from other nodes"),
        )
    return grid


def _row(grid: Table, name: str, share: float, figure: str, colour: str) -> None:
    bar = ProgressBar(total=1.0, completed=share, width=_BAR_WIDTH, complete_style=colour, finished_style=colour)
    grid.add_row(name, bar, figure)


def save_picture(file: Path, title: str, frames: list[RenderableType]) -> None:
    """An SVG of what a run showed."""
    console = Console(record=True, width=92, file=StringIO(), force_terminal=True, color_system="truecolor")
    for frame in frames:
        console.print(frame)
    # Columns begin with spaces, which some viewers drop unless they are told not to.
    svg = console.export_svg(title=title).replace("<svg ", '<svg xml:space="preserve" ', 1)
    file.write_text(svg, encoding="utf-8")
