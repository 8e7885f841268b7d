"""Both faces have every call of the core, with its arguments and its documentation."""

from __future__ import annotations

import inspect

import pytest

from kvasir import Client
from kvasir._core import Core
from kvasir.aio import AsyncClient

CALLS = sorted(name for name, call in vars(Core).items() if callable(call) and not name.startswith("_"))


@pytest.mark.parametrize("face", [Client, AsyncClient])
@pytest.mark.parametrize("name", CALLS)
def test_a_face_has_the_call(face: type, name: str) -> None:
    call, method = getattr(Core, name), getattr(face, name)
    written, shown = inspect.signature(call), inspect.signature(method)
    assert shown.parameters == written.parameters
    assert f"Call[{shown.return_annotation}]" == written.return_annotation
    assert inspect.getdoc(method) == inspect.getdoc(call)
    assert inspect.iscoroutinefunction(method) == (face is AsyncClient)
