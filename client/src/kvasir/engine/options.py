"""What a user sets for a connector, checked so that every mistake is named before anything is shared."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any


class ConfigurationError(ValueError):
    """The connector's own options, or the engine's configuration, do not fit; the message says what to change."""


def option_values(given: object, options: type[Any], where: str) -> dict[str, Any]:
    """What a user gave, as arguments of ``options``.

    Args:
        given: names and values, as they came from JSON. A whole number stands for a float, too.
        options: a dataclass; every field has a default, of the type that its value has to have.
        where: what the user calls the place of these options.

    Raises:
        ConfigurationError: not a mapping, an unknown name (the nearest is named), or a value of another type.
    """
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{where} is a {type(given).__name__}; it must be an object")
    known = {field.name: type(field.default) for field in fields(options)}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1, 0.5)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
            raise ConfigurationError(f"{where}.{name} is no option{hint}")
        wanted = known[name]
        if wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted:
            raise ConfigurationError(f"{where}.{name} is {value!r}; it must be of type {wanted.__name__}")
        values[name] = value
    return values
