"""How the demo shows itself: a live panel on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
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

from kvasir_ops.demo.tally import Restart, Summary, Tally

GB = 1e9
_BAR_WIDTH = 34
_PLAIN_EVERY_SECONDS = 3.0


@dataclass
class Scene:
    """What there is to show; the demo changes it, the display reads it."""

    tally: Tally
    dram_bytes: int
    ssd_bytes: int
    phase: str = "starting"
    started_at: float = field(default_factory=time.monotonic)
    restart: Restart | None = None

    @property
    def seconds(self) -> float:
        """Since the start of the demo."""
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
            f"hits {tally.hit_rate:.1%} (DRAM {tally.hits['dram']}, SSD {tally.hits['ssd']}), "
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


def event_line(seconds: float, text: str) -> Text:
    """Something that happened, and when."""
    return Text.assemble((f"{seconds:5.1f} s  ", "dim"), text)


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
    for tier, colour in (("dram", "green"), ("ssd", "yellow")):
        count = tally.hits.get(tier, 0)
        share = count / tally.chunks if tally.chunks else 0.0
        _row(grid, f"  from {tier.upper()}", share, f"{count:,} ({share:.1%})", colour)
    share = tally.tokens_not_recomputed / tally.tokens if tally.tokens else 0.0
    _row(grid, "tokens not recomputed", share, f"{tally.tokens_not_recomputed:,}", "magenta")
    figures = Text.assemble(
        ("load ", "dim"), f"{tally.load_bytes_per_s / GB:.2f} GB/s", ("   store ", "dim"),
        f"{tally.store_bytes_per_s / GB:.2f} GB/s", ("   verified ", "dim"), f"{tally.verified_bytes / GB:.2f} GB",
        ("   wrong bytes ", "dim"), (str(tally.wrong_bytes), "bold red" if tally.wrong_bytes else "bold green"),
    )  # fmt: skip
    return Panel(
        Group(grid, Text(), figures),
        title=f"[bold]Kvasir[/]  {scene.phase}",
        title_align="left",
        subtitle=f"{scene.seconds:.0f} s",
        subtitle_align="right",
        border_style="red" if "kill" in scene.phase else "blue",
        width=88,
        padding=(1, 2),
    )


def _row(grid: Table, name: str, share: float, figure: str, colour: str) -> None:
    bar = ProgressBar(total=1.0, completed=share, width=_BAR_WIDTH, complete_style=colour, finished_style=colour)
    grid.add_row(name, bar, figure)


def summary_table(summary: Summary) -> Table:
    """The figures, with Kvasir and without."""
    table = Table(
        title=f"{summary.requests:,} requests, {summary.chunks:,} chunks of {summary.object_bytes // 1024} KiB "
        f"(512 tokens each), {summary.seconds:.0f} s",
        title_justify="left",
        title_style="bold",
    )
    table.add_column("")
    table.add_column("with Kvasir", justify="right")
    table.add_column("without", justify="right")
    hit_text = ", ".join(f"{tier.upper()} {count:,}" for tier, count in summary.hits.items())
    reachable = sum(summary.hits.values()) / summary.endless_cache_hits if summary.endless_cache_hits else 0.0
    restart = ", ".join(
        f"{tier.upper()} {seconds:.2f} s" for tier, seconds in summary.restart_first_hit_seconds.items()
    )
    speed = f"{summary.prefill_tokens_per_s:,.0f} tokens/s"
    prefill = summary.prefill_seconds_with
    rows: list[tuple[str, str, str]] = [
        ("chunks that were hits", f"{sum(summary.hits.values()):,} ({summary.hit_rate:.1%})", "0"),
        ("  by tier", hit_text, ""),
        ("  of what an endless cache would hit", f"{reachable:.0%}", "0%"),
        ("  stored by the other engine", f"{summary.stored_by_other:,}", "0"),
        ("tokens not recomputed", f"{summary.tokens_not_recomputed:,} of {summary.tokens:,}", "0"),
        (f"prefill at {speed} (estimate)", f"{prefill:,.0f} s", f"{summary.prefill_seconds_without:,.0f} s"),
        ("  time in calls to Kvasir", f"{summary.tier_seconds:.1f} s", ""),
        ("  saved", f"{summary.saved_seconds:,.0f} s", ""),
        ("load, store", f"{summary.load_bytes_per_s / GB:.2f}, {summary.store_bytes_per_s / GB:.2f} GB/s", ""),
        ("bytes verified", f"{summary.bytes_verified:,}", ""),
        ("kill -9: requests served without it", f"{summary.requests_without_tier}", ""),
        ("kill -9: start to first verified hit", restart or "none", ""),
        ("kill -9: objects checked after it", f"{summary.objects_acknowledged:,}", ""),
        ("  evicted for room before it", f"{summary.objects_evicted_before:,}", ""),
        ("  lost", f"{summary.objects_lost:,}", ""),
    ]  # fmt: skip
    for row in rows:
        table.add_row(*row)
    return table


def save_picture(file: Path, frames: list[RenderableType]) -> None:
    """An SVG of what a run showed."""
    console = Console(record=True, width=92, file=StringIO(), force_terminal=True, color_system="truecolor")
    for frame in frames:
        console.print(frame)
    console.save_svg(str(file), title="./kvasir demo")
