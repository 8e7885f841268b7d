"""SGLang's own radix cache stores and loads through the cache linker; every byte that counts as loaded is compared."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from kvasir_ops.testing import Node, until

pytestmark = [pytest.mark.engine, pytest.mark.integration]

pytest.importorskip("sglang", reason="runs in the environment of ./kvasir test --engines")

import torch
from controller import LAYERS, PAGE, Engine, parallel, tokens
from kvasir import Client, Lease
from linked import LinkedEngine
from sglang.srt.mem_cache.base_prefix_cache import MatchPrefixParams
from sglang.srt.mem_cache.radix_cache import RadixKey

from kvasir_sglang.linker import linker as linker_module


@pytest.fixture(autouse=True, scope="module")
def one_rank() -> None:
    parallel()


@pytest.fixture
def make(node: Node) -> Iterator[Any]:
    engines: list[LinkedEngine] = []

    def make(**options: Any) -> LinkedEngine:
        engines.append(LinkedEngine(node.socket, **options))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.mark.parametrize("mla", [False, True])
def test_pages_come_back_byte_for_byte(make: Any, mla: bool) -> None:
    engine, prompt = make(mla=mla), tokens(10)
    _, wanted = engine.backup(prompt)
    req = engine.request(prompt)
    assert req.host_hit_length == len(prompt)
    slots = engine.queue(req)
    assert not engine.forward(req)
    assert engine.bytes_of(slots) == wanted


def test_another_engine_loads_what_this_one_stored(make: Any) -> None:
    prompt = tokens(6)
    first = make()
    wanted = first.compute(prompt)
    assert first.stored()
    assert make().prefetch(prompt) == wanted


def test_only_the_prefix_that_was_stored_is_found(make: Any) -> None:
    engine, prompt = make(), tokens(9)
    wanted = engine.compute(prompt[: 5 * PAGE])
    assert engine.stored()
    engine.forget()
    assert engine.request(prompt).host_hit_length == 5 * PAGE
    assert engine.prefetch(prompt) == wanted
    assert engine.request(tokens(3)).host_hit_length == 0


def test_what_the_tree_has_is_not_loaded_again(make: Any) -> None:
    engine, other, prompt = make(), make(), tokens(8)
    wanted = other.compute(prompt)
    assert other.stored()
    engine.compute(prompt[: 3 * PAGE])
    req = engine.request(prompt)
    assert (req.prefix_len, req.host_hit_length) == (3 * PAGE, 5 * PAGE)
    slots = engine.queue(req)
    assert not engine.forward(req)
    assert engine.bytes_of(slots) == wanted[3:]


def test_requests_of_one_batch_are_loaded_together(make: Any) -> None:
    engine = make()
    prompts = [tokens(4), tokens(7), tokens(2)]
    wanted = [engine.compute(prompt) for prompt in prompts]
    assert engine.stored()
    engine.forget()
    reqs = [engine.request(prompt) for prompt in prompts]
    slots = [engine.queue(req) for req in reqs]
    assert not engine.forward(*reqs)
    assert [engine.bytes_of(each) for each in slots] == wanted


@pytest.mark.parametrize("different", [{"model": "another"}, {"mla": True}, {"generation": 1}, {"layers": 2}], ids=str)
def test_an_engine_whose_pages_differ_finds_nothing(make: Any, different: dict[str, Any]) -> None:
    engine, prompt = make(), tokens(4)
    engine.compute(prompt)
    assert engine.stored()
    assert make(**different).request(prompt).host_hit_length == 0


@pytest.mark.parametrize("mla", [False, True])
def test_storage_and_linker_share_pages_when_the_host_pool_has_pages_as_the_gpu_writes_them(
    make: Any, node: Node, mla: bool
) -> None:
    linked, prompt, another = make(mla=mla), tokens(5), tokens(5)
    hicache = Engine(node.socket, "page_first_direct", mla=mla)
    try:
        stored, wanted = hicache.backup(prompt)
        assert stored == len(prompt)
        assert linked.prefetch(prompt) == wanted
        wanted = linked.compute(another)
        assert linked.stored()
        assert hicache.prefetch(another) == wanted
    finally:
        hicache.close()


def test_the_same_request_asked_again_needs_no_answer_from_the_node(own_node: Node) -> None:
    engine, prompt = LinkedEngine(own_node.socket), tokens(6)
    _, wanted = engine.backup(prompt)
    req = engine.request(prompt)
    own_node.pause()
    match = engine.cache.match_prefix(MatchPrefixParams(key=RadixKey(prompt), req=req))
    assert match.host_hit_length == len(prompt)
    slots = engine.queue(req)
    assert not engine.forward(req)
    assert engine.bytes_of(slots) == wanted
    own_node.resume()
    engine.close()


def test_a_request_that_is_withdrawn_before_its_batch_leaves_its_slots_alone(make: Any) -> None:
    engine, prompt = make(), tokens(6)
    engine.backup(prompt)
    req = engine.request(prompt)
    slots = engine.queue(req)
    before = engine.bytes_of(slots)
    engine.cache.linker.release_request(req.rid)
    assert engine.cache.ready_to_load_host_cache() == -1
    assert engine.bytes_of(slots) == before
    assert not engine.linker._queued


def test_leases_of_requests_that_never_come_are_given_back(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linker_module, "HOLD_SECONDS", 0.2)
    released: list[int] = []
    release = Lease.release

    def note(lease: Lease) -> None:
        released.append(lease.id)
        release(lease)

    monkeypatch.setattr(Lease, "release", note)
    engine, prompt = make(), tokens(4)
    engine.backup(prompt)
    assert engine.request(prompt).host_hit_length == len(prompt)
    until(lambda: len(released) == 1 and not engine.linker._found, "the lease is given back without another call")


def test_each_layer_is_there_before_the_next_is_copied(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linker_module, "GROUP_BYTES", 1)
    engine, prompt = make(), tokens(3)
    _, wanted = engine.backup(prompt)
    go_on = [threading.Event() for _ in range(LAYERS)]
    copied: list[int] = []
    load = Client.load

    def slowly(client: Client, *arguments: Any, **options: Any) -> Any:
        assert go_on[len(copied)].wait(30)
        copied.append(len(copied))
        return load(client, *arguments, **options)

    monkeypatch.setattr(Client, "load", slowly)
    req = engine.request(prompt)
    slots = engine.queue(req)
    index = engine.cache.ready_to_load_host_cache()
    counter = engine.linker.layer_done_counter
    counter.set_consumer(index)
    for layer in range(LAYERS):
        assert [future.done() for future in counter.futures[index]] == [done < layer for done in range(LAYERS)]
        go_on[layer].set()
        counter.wait_until(layer)
        mine = [engine.buffers[layer], engine.buffers[LAYERS + layer]]
        size = len(wanted[0]) // (2 * LAYERS)
        for page, rows in zip(wanted, slots.reshape(-1, PAGE), strict=True):
            for buffer, at in zip(mine, (layer, LAYERS + layer), strict=True):
                assert buffer[rows].view(torch.uint8).numpy().tobytes() == page[at * size : (at + 1) * size]
    assert not engine.cache.finish_external_linker_loads([req])


def test_a_reset_waits_for_copies_and_forgets_requests_but_no_pages(make: Any) -> None:
    engine, prompt = make(), tokens(5)
    wanted = engine.compute(prompt)
    engine.forget()  # resets the linker while it stores
    req = engine.request(prompt)
    engine.queue(req)
    engine.forget()
    assert engine.cache.ready_to_load_host_cache() == -1
    assert engine.prefetch(prompt) == wanted


def test_a_closed_linker_leaves_no_thread_behind(node: Node) -> None:
    engine = LinkedEngine(node.socket)
    engine.compute(tokens(3))
    engine.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("kvasir")]


def test_options_that_are_wrong_are_refused_at_the_start(make: Any) -> None:
    with pytest.raises(ValueError, match="did you mean 'load_deadline_ms'"):
        make(load_deadline=1)
    with pytest.raises(ValueError, match=r"Set kvasir\.model"):
        make(model="")
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("kvasir")]
