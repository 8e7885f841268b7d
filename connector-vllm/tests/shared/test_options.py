"""What a user may set, and what is said of what is wrong."""

from __future__ import annotations

import pytest
from kvasir.engine.options import ConfigurationError

from kvasir_vllm.shared.options import ConnectorOptions


def test_option_that_is_misspelt_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r"lookup_timout.*did you mean 'lookup_timeout'"):
        ConnectorOptions.of({"lookup_timout": 1.0})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("lookup_timeout", "1s", "must be of type float"),
        ("chunk_tokens", True, "must be of type int"),
        ("store_timeout", 0, "more than 0 seconds"),
        ("max_pinned_share", 1.5, "above 0, to 1"),
        ("chunk_tokens", -1, "must not be negative"),
    ],
)
def test_bad_value_is_refused(name: str, value: object, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ConnectorOptions.of({name: value})


def test_whole_number_of_seconds_is_a_duration() -> None:
    assert ConnectorOptions.of({"lookup_timeout": 2}).lookup_timeout == 2.0


def test_socket_of_the_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVASIR_SOCKET", "/somewhere/engine.sock")
    assert ConnectorOptions.of({}).socket == "/somewhere/engine.sock"
