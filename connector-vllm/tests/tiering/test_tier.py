"""The tier inside vLLM's real TieringOffloadingManager: what goes in comes out, from a real node."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.integration]
pytest.importorskip("vllm")

from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from vllm.v1.kv_offload.base import LookupResult  # noqa: E402

from tiering.rig import BLOCK_BYTES, blocks, keys  # noqa: E402


def test_what_was_offloaded_comes_back_byte_for_byte(node: Any, rig: Any) -> None:
    one = rig(node.socket)
    wanted, content = keys(40, "back"), blocks(40, 1)
    one.offload(wanted, content)
    one.forget()
    for got, expected in zip(one.fetch(wanted), content, strict=True):
        assert got is not None
        assert (got == expected).all()


def test_another_engine_finds_it_too(node: Any, rig: Any) -> None:
    wanted, content = keys(8, "other"), blocks(8, 2)
    rig(node.socket).offload(wanted, content)
    fetched = rig(node.socket).fetch(wanted)
    assert all(got is not None and (got == expected).all() for got, expected in zip(fetched, content, strict=True))


def test_what_nobody_offloaded_is_a_miss(node: Any, rig: Any) -> None:
    one = rig(node.socket)
    wanted, content = keys(6, "half"), blocks(6, 3)
    one.offload(wanted[:3], content[:3])
    one.forget()
    fetched = one.fetch(wanted)
    assert [got is not None for got in fetched] == [True] * 3 + [False] * 3


def test_groups_of_one_hash_are_different_objects(node: Any, rig: Any) -> None:
    one = rig(node.socket, config={"groups": 2})
    first, second = keys(4, "groups", 0), keys(4, "groups", 1)
    content = blocks(8, 4)
    one.offload(first, content[:4])
    one.offload(second, content[4:])
    one.forget()
    fetched = one.fetch(first + second)
    assert all(got is not None and (got == expected).all() for got, expected in zip(fetched, content, strict=True))


@pytest.mark.parametrize("change", [{"model": "another"}, {"block_bytes": BLOCK_BYTES // 2}, {"groups": 2}])
def test_another_model_or_layout_never_meets_it(node: Any, rig: Any, change: dict[str, Any]) -> None:
    wanted = keys(4, "namespace")
    rig(node.socket).offload(wanted, blocks(4, 5))
    assert rig(node.socket, config=change).fetch(wanted) == [None] * 4


def test_another_hash_seed_never_meets_it(node: Any, rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = keys(4, "seed")
    rig(node.socket).offload(wanted, blocks(4, 6))
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    assert rig(node.socket).fetch(wanted) == [None] * 4


def test_no_call_of_the_scheduler_waits_for_the_node(own_node: Any, rig: Any) -> None:
    one = rig(own_node.socket)
    wanted, content = keys(16, "quick"), blocks(16, 7)
    one.offload(wanted, content)
    one.forget()
    own_node.pause()
    context = one.request()
    # While the node is stopped a call that waited for it would not return.
    for key in wanted:
        assert one.manager.lookup(key, context) is LookupResult.RETRY
    one.step()
    own_node.resume()


def test_an_object_that_changed_on_its_way_is_a_miss_with_verify(node: Any, rig: Any) -> None:
    one = rig(node.socket, verify=True)
    wanted, content = keys(4, "verify"), blocks(4, 8)
    one.offload(wanted, content)
    one.forget()
    assert all(got is not None for got in one.fetch(wanted))


def test_jobs_of_an_ended_request_still_end(node: Any, rig: Any) -> None:
    one = rig(node.socket)
    wanted, content = keys(4, "ended"), blocks(4, 9)
    one.offload(wanted, content)
    one.forget()
    context = one.request()
    while one.manager.lookup(wanted[0], context) is LookupResult.RETRY:
        one.step()
    one.manager.on_request_finished(context)
    one.settle()
    assert one.tier._lookups._requests == {}
    assert not np.array_equal(one.rows, np.zeros_like(one.rows))


def test_a_reset_waits_for_jobs_and_keeps_what_the_node_has(node: Any, rig: Any) -> None:
    one = rig(node.socket)
    wanted, content = keys(8, "reset"), blocks(8, 10)
    context = one.request()
    prepared = one.manager.prepare_store(wanted, context)
    for row, block in zip(prepared.store_spec.block_ids.tolist(), content, strict=True):
        one.rows[row] = block
    one.manager.complete_store(wanted, context)
    one.forget()
    assert one.tier._jobs == {}
    one.manager.on_request_finished(context)
    fetched = one.fetch(wanted)
    assert all(got is not None and (got == expected).all() for got, expected in zip(fetched, content, strict=True))
