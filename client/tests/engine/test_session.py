"""A session that is kept beside an engine, with a real node."""

from __future__ import annotations

import logging
import threading

import pytest
from conftest import NAMESPACE
from kvasir_ops.testing import Node, until

from kvasir import Client, ClosedError, NodeUnavailableError
from kvasir.engine.session import SessionKeeper

logger = logging.getLogger("session")


@pytest.mark.integration
def test_a_node_that_comes_later_is_met(own_node: Node, caplog: pytest.LogCaptureFixture) -> None:
    own_node.kill()

    def connect() -> Client:
        return Client.connect(own_node.socket, namespace=NAMESPACE, deadline=10.0, attach_deadline=10.0)

    keeper = SessionKeeper(connect, logger, "test")
    try:
        until(lambda: "no node yet" in caplog.text, "the first attempt failed")
        assert keeper.current() is None
        with pytest.raises(NodeUnavailableError):
            keeper.client  # noqa: B018
        own_node.start()
        assert keeper.wait(60)
        assert keeper.client.ping(b"on") == b"on"
    finally:
        keeper.close()
    with pytest.raises(ClosedError):
        keeper.client  # noqa: B018


@pytest.mark.integration
def test_a_client_that_comes_after_the_end_is_closed(node: Node) -> None:
    connecting, go_on = threading.Event(), threading.Event()
    made: list[Client] = []

    def connect() -> Client:
        connecting.set()
        assert go_on.wait(60)
        made.append(Client.connect(node.socket, deadline=10.0))
        return made[0]

    keeper = SessionKeeper(connect, logger, "test")
    assert connecting.wait(60)
    keeper.close()
    go_on.set()

    def closed() -> bool:
        try:
            return not made or made[0].ping() != b""
        except ClosedError:
            return True

    until(lambda: made and closed(), "the client is closed")
    assert keeper.current() is None


def test_one_that_cannot_connect_yet_is_asked_again_and_an_error_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[None] = []

    def connect() -> Client | None:
        asked.append(None)
        if len(asked) < 3:
            return None
        raise ValueError("wrong for ever")

    keeper = SessionKeeper(connect, logger, "test")
    until(lambda: "failed for good" in caplog.text, "attaching ended")
    assert len(asked) == 3
    with pytest.raises(NodeUnavailableError, match="wrong for ever"):
        keeper.client  # noqa: B018
    keeper.close()
