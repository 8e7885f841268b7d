from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from kvasir.engine.options import ConfigurationError, option_values


@dataclass(frozen=True)
class Options:
    socket: str = ""
    lookup_timeout: float = 0.5
    chunk_tokens: int = 0
    verify: bool = False


def test_values_are_arguments_of_the_options() -> None:
    given = {"socket": "/run/x.sock", "chunk_tokens": 256, "verify": True}
    assert Options(**option_values(given, Options, "kvasir")) == Options("/run/x.sock", 0.5, 256, True)


def test_whole_number_stands_for_a_float() -> None:
    value = option_values({"lookup_timeout": 2}, Options, "kvasir")["lookup_timeout"]
    assert type(value) is float
    assert value == 2.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lookup_timout": 1.0}, r"^kvasir\.lookup_timout is no option; did you mean 'lookup_timeout'\?$"),
        ({"zzz": 1}, "; there are socket, lookup_timeout, chunk_tokens, verify"),
        ({"lookup_timeout": "1s"}, r"^kvasir\.lookup_timeout is '1s'; it must be of type float$"),
        ({"lookup_timeout": True}, "of type float"),
        ({"chunk_tokens": True}, "of type int"),
        ({"chunk_tokens": 1.5}, "of type int"),
        ({"verify": 1}, "of type bool"),
        (["socket"], "^kvasir is a list; it must be an object$"),
    ],
)
def test_mistake_is_named(given: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        option_values(given, Options, "kvasir")
