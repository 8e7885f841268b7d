"""What the thread that runs a replay does: counts reports, shows them, sees that nobody ended or stands still."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from rich.console import RenderableType

from kvasir_ops.replay.display import Display, Scene, event_line, panel
from kvasir_ops.replay.stand_ins import StandIns

QUIET_BOUND_SECONDS = 60.0
_LOOK_SECONDS = 0.05

_Result = TypeVar("_Result")


class StandstillError(Exception):
    """Nothing moved for :data:`QUIET_BOUND_SECONDS`."""


class Course:
    """What happens between the beginning and the end of a replay. ``look_after`` raises when something else ended."""

    def __init__(self, scene: Scene, display: Display, stand_ins: StandIns, look_after: Callable[[], None]) -> None:
        self.scene = scene
        self.frames: list[RenderableType] = []
        self._display = display
        self._stand_ins = stand_ins
        self._look_after = look_after
        self._reported: set[int] = set()

    def say(self, text: str) -> None:
        """Something that stays in sight, and in the picture."""
        self._display.event(text)
        self.frames.append(event_line(self.scene.seconds, text))

    def draw(self) -> None:
        """Puts the panel as it is now into the picture."""
        self.frames.append(panel(self.scene))

    def step(self) -> bool:
        """Looks at everything once; True when a request was served meanwhile."""
        reports = self._stand_ins.reports(_LOOK_SECONDS)
        for report in reports:
            self.scene.tally.add(report)
            self._reported.add(report.engine)
        self._display.refresh()
        self._look_after()
        self._stand_ins.check()
        return bool(reports)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Goes on until ``condition`` holds.

        Raises:
            StandstillError: no request was served for too long meanwhile.
        """
        last = time.monotonic()
        while not condition():
            if self.step():
                last = time.monotonic()
            elif time.monotonic() - last > QUIET_BOUND_SECONDS:
                raise StandstillError(f"no request was served for {QUIET_BOUND_SECONDS:.0f} s while waiting: {what}")

    def served(self, requests: int) -> None:
        """Goes on until so many requests are served."""
        self.until(lambda: self.scene.tally.done >= requests, f"{requests} requests are served")

    def a_report_of_each(self) -> None:
        """Goes on until each stand-in has reported once more, or all requests that are not held back are served."""
        self._reported.clear()
        tally = self.scene.tally
        self.until(
            lambda: len(self._reported) >= self._stand_ins.count or tally.done >= self._stand_ins.open_until,
            "each stand-in serves a request",
        )

    def result_of(self, future: Future[_Result]) -> _Result:
        """Goes on until ``future`` is done; its result."""
        while not future.done():
            self.step()
        return future.result()
