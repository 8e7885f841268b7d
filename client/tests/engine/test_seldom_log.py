"""The log that tells of a trouble seldom."""

from __future__ import annotations

import logging
import math

import pytest

from kvasir.engine.log import LOG_SECONDS, SeldomLog

logger = logging.getLogger("seldom")


def test_the_same_trouble_is_logged_once_in_a_while_and_counted_between(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    log = SeldomLog(logger)
    for _ in range(3):
        log.warn("a load is a miss", "no node")
    log.warn("a store failed")
    now[0] += LOG_SECONDS
    log.warn("a load is a miss", "late")
    assert caplog.messages == [
        "a load is a miss: no node",
        "a store failed",
        "a load is a miss: late (2 more since the last line)",
    ]


def test_kinds_tell_troubles_of_one_text_apart(caplog: pytest.LogCaptureFixture) -> None:
    log = SeldomLog(logger)
    log.warn("a miss", "first", kind="one")
    log.warn("a miss", "second", kind="two")
    log.warn("a miss", "third", kind="one")
    assert caplog.messages == ["a miss: first", "a miss: second"]


def test_what_is_logged_once_is_logged_again_after_it_was_over(caplog: pytest.LogCaptureFixture) -> None:
    log = SeldomLog(logger, math.inf)
    for _ in range(2):
        log.warn("stores fail")
    log.clear()
    log.warn("stores fail")
    assert caplog.messages == ["stores fail", "stores fail"]
