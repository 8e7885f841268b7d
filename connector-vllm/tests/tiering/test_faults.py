"""What happens to the node is a miss or a failed job to vLLM, and never an exception, a hang or a wrong byte."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.integration]
pytest.importorskip("vllm")

from typing import Any  # noqa: E402

from vllm.v1.kv_offload.base import LookupResult  # noqa: E402

from tiering.rig import blocks, keys  # noqa: E402


def right(fetched: list[Any], content: Any) -> bool:
    return all(got is not None and (got == expected).all() for got, expected in zip(fetched, content, strict=True))


def offload_unseen(one: Any, wanted: list[Any], content: Any) -> None:
    """Offloads without a look at whether the tier took it."""
    one.offload(wanted, content)
    one.forget()


def test_a_killed_node_is_misses_and_a_started_one_gives_the_bytes_again(own_node: Any, rig: Any) -> None:
    one = rig(own_node.socket, transfer_deadline_ms=5000)
    wanted, content = keys(16, "killed"), blocks(16, 1)
    one.offload(wanted, content)
    one.forget()
    own_node.kill()
    assert one.fetch(wanted) == [None] * 16
    offload_unseen(one, keys(4, "meanwhile"), blocks(4, 2))
    own_node.start()
    one.until(lambda: right(one.fetch(wanted), content), "the bytes are there again")


def test_a_node_killed_under_a_load_fails_the_job(own_node: Any, rig: Any) -> None:
    one = rig(own_node.socket, transfer_deadline_ms=5000)
    wanted, content = keys(16, "under"), blocks(16, 3)
    one.offload(wanted, content)
    one.forget()
    context = one.request()
    one.until(lambda: _found_hit(one, context, wanted), "the first hit")
    own_node.kill()
    one.settle()
    # The same request never gets what failed; another one gets a miss, or the bytes.
    assert all(result is not LookupResult.RETRY for result in one.look(context, wanted))
    one.manager.on_request_finished(context)


def _found_hit(one: Any, context: Any, wanted: list[Any]) -> bool:
    found = [one.manager.lookup(key, context) for key in wanted]
    if LookupResult.HIT_PENDING in found:
        return True
    one.tier.on_schedule_end(None)
    return False


def test_a_paused_node_costs_the_deadlines_and_works_again_when_it_goes_on(own_node: Any, rig: Any) -> None:
    one = rig(own_node.socket, lookup_deadline_ms=200, transfer_deadline_ms=2000)
    wanted, content = keys(16, "paused"), blocks(16, 4)
    one.offload(wanted, content)
    one.forget()
    own_node.pause()
    assert one.fetch(wanted) == [None] * 16
    offload_unseen(one, keys(8, "while paused"), blocks(8, 5))
    for number in range(5):
        assert one.fetch(keys(2, f"more {number}")) == [None] * 2
    assert one.tier._session._breaker.is_open
    own_node.resume()
    one.until(lambda: right(one.fetch(wanted), content), "the bytes are there again")
    assert not one.tier._session._breaker.is_open


def test_a_deadline_of_a_millisecond_is_misses_and_ended_jobs(node: Any, rig: Any) -> None:
    one = rig(node.socket, lookup_deadline_ms=1, transfer_deadline_ms=1)
    for number in range(10):
        wanted, content = keys(8, f"brief {number}"), blocks(8, number)
        one.offload(wanted, content)
        one.forget()
        for got, expected in zip(one.fetch(wanted), content, strict=True):
            assert got is None or (got == expected).all()


def test_damaged_objects_are_misses_and_are_not_asked_for_again(own_node: Any, rig: Any) -> None:
    one = rig(own_node.socket, verify=True)
    wanted, content = keys(8, "damaged"), blocks(8, 6)
    one.offload(wanted, content)
    one.forget()
    one.until(lambda: right(one.fetch(wanted), content), "what was summed verifies")
    one.forget()
    assert damage(own_node, content[2].tobytes()) == 1
    fetched = one.fetch(wanted)
    assert fetched[2] is None
    assert right(fetched[:2] + fetched[3:], [*content[:2], *content[3:]])


def damage(node: Any, content: bytes) -> int:
    """Flips a byte of every copy of ``content`` in the node's shared memory."""
    found = 0
    # Not the lock files: this process's own lock ends when it closes any descriptor of one.
    for file in node.data_files():
        data = file.read_bytes()
        at = data.find(content)
        if at >= 0:
            with file.open("r+b") as opened:
                opened.seek(at + 100)
                opened.write(bytes([data[at + 100] ^ 1]))
            found += 1
    return found


def test_an_engine_without_a_node_computes_and_finds_it_later(own_node: Any, rig: Any) -> None:
    own_node.kill()
    one = rig(own_node.socket, attached=False)
    wanted, content = keys(8, "later"), blocks(8, 7)
    assert one.fetch(wanted) == [None] * 8
    offload_unseen(one, wanted, content)
    own_node.start()
    one.until(lambda: one.tier._session.current() is not None, "the tier meets the node")
    one.offload(wanted, content)
    one.forget()
    assert right(one.fetch(wanted), content)


def test_stores_beyond_the_limit_fail_at_once(own_node: Any, rig: Any) -> None:
    one = rig(own_node.socket, max_pending_stores=2, transfer_deadline_ms=2000)
    own_node.pause()
    contexts = []
    for number in range(6):
        context = one.request()
        wanted = keys(1, f"many {number}")
        assert one.manager.prepare_store(wanted, context) is not None
        one.manager.complete_store(wanted, context)
        contexts.append(context)
    refused = [future for future in one.tier._jobs if future.done()]
    assert [future.result().success for future in refused] == [False] * 4
    own_node.resume()
    one.settle()
    for context in contexts:
        one.manager.on_request_finished(context)


def test_more_than_the_node_has_space_for_is_kept_in_part_and_never_wrong(own_node: Any, rig: Any) -> None:
    one = rig(own_node.socket)
    for number in range(80):  # 80 x 64 x 16 KiB = 80 MiB into 64 MiB
        one.offload(keys(64, f"flood {number}"), blocks(64, number))
        one.forget()
    hits = 0
    for number in range(80):
        for got, expected in zip(one.fetch(keys(64, f"flood {number}")), blocks(64, number), strict=True):
            assert got is None or (got == expected).all()
            hits += got is not None
        one.forget()
    assert hits > 1000


def test_nothing_is_left_after_many_requests_with_faults(own_node: Any, rig: Any) -> None:
    one = rig(own_node.socket, lookup_deadline_ms=50, transfer_deadline_ms=200)
    contents = {number: (keys(8, f"churn {number}"), blocks(8, number)) for number in range(20)}
    for number in range(200):
        wanted, content = contents[number % 20]
        if number % 50 == 20:
            own_node.pause()
        if number % 50 == 30:
            own_node.resume()
        if number == 100:
            own_node.kill()
            own_node.start()
        for got, expected in zip(one.fetch(wanted), content, strict=True):
            assert got is None or (got == expected).all()
        if one.fetch(wanted[:1]) == [None]:
            context = one.request()
            prepared = one.manager.prepare_store(wanted, context)
            if prepared is not None and len(prepared.keys_to_store) == len(wanted):
                for row, block in zip(prepared.store_spec.block_ids.tolist(), content, strict=True):
                    one.rows[row] = block
                one.manager.complete_store(wanted, context)
            elif prepared is not None and prepared.keys_to_store:
                one.manager.complete_store(prepared.keys_to_store, context, success=False)
            one.manager.on_request_finished(context)
        if number % 7 == 0:
            one.settle()
            one.forget()
    one.settle()
    assert one.tier._jobs == {}
    assert one.tier._lookups._requests == {}
    assert one.manager._jobs == {}
