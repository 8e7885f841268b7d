"""What an engine publishes about itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kvasir import Namespace, Shard

from kvasir_vllm.shared.published import Published, differences

DIGEST = b"\x01" * 32
BASE = Namespace("m", 256, DIGEST, "vllm sha256", "unset", "auto", layout="tp 1; pages 4; hnd", extra={"dtype": "bf16"})


@given(st.text(), st.integers(0, 2**31), st.binary(max_size=32), st.dictionaries(st.text(), st.text(), max_size=3))
def test_it_is_read_as_it_was_written(model: str, generation: int, digest: bytes, extra: dict[str, str]) -> None:
    namespace = Namespace(model, 256, digest, "vllm sha256", "unset", generation=generation, extra=extra)
    told = Published.of(namespace, [Shard(0, 4, 0, 2), Shard(4, 8, 0, 2, pp_rank=1, pp_size=2)], 32, "")
    read = Published.parse(told.text())
    assert read == told
    assert read.namespace.extra == namespace.extra


def test_a_seed_is_not_told_and_known_to_who_has_it() -> None:
    namespace = Namespace("m", 256, hash_seed="secret")
    told = Published.of(namespace, [Shard()], 16, "")
    assert "secret" not in told.text()
    assert told.with_seed("secret") == namespace
    assert told.with_seed("other") is None
    assert told.with_seed(None) is None
    assert Published.of(BASE, [Shard()], 16, "").with_seed("") == BASE


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"namespace": {"modell": 1}}', "nothing"])
def test_something_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Published.parse(text)


def test_differences_name_the_fields_and_the_parts_of_the_layout() -> None:
    other = Namespace("n", 256, b"\x01" * 32, "vllm sha256", "unset", "auto", layout="tp 2; pages 4; hnd", extra={})
    assert differences(BASE, other) == [
        ("model", "m", "n"),
        ("layout", "tp 1", "tp 2"),
        ("extra.dtype", "bf16", "(none)"),
    ]
    assert differences(BASE, BASE) == []
