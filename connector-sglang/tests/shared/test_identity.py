from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kvasir_sglang.shared.identity import EngineIdentity, Ranks, pack
from kvasir_sglang.shared.weights import Weights

HASHES = [f"{index:064x}" for index in (1, 2, 3)]
PAGES: Any = SimpleNamespace(fingerprint="layout", dtype="bfloat16")


def config(**changes: Any) -> Any:
    values = {"tp_rank": 1, "tp_size": 4, "pp_rank": 0, "pp_size": 1, "attn_cp_rank": 0, "attn_cp_size": 1}
    return SimpleNamespace(**(values | {"is_mla_model": False} | changes))


def test_page_hashes_are_keys_as_they_are() -> None:
    assert pack(HASHES) == b"".join(bytes.fromhex(one) for one in HASHES)
    assert pack([]) == b""


@pytest.mark.parametrize("name", [HASHES[0] + ".draft", "short", "g" * 64, "ab " * 21 + "a", " " * 64, "é" * 64])
def test_any_other_name_becomes_a_key_of_its_own(name: str) -> None:
    packed = pack([HASHES[0], name, HASHES[1]])
    assert len(packed) == 96
    assert packed[:32] == bytes.fromhex(HASHES[0])
    assert packed[32:64] not in (packed[:32], packed[64:])
    assert packed[64:] == bytes.fromhex(HASHES[1])


def test_names_whose_lengths_even_out_do_not_shift_the_others() -> None:
    shifted = pack([HASHES[0][:63], HASHES[1] + "0"])
    assert len(shifted) == 64
    assert shifted != pack(HASHES[:2])


def test_each_rank_has_a_shard_of_its_own_unless_all_hold_the_same() -> None:
    split, replicated = Ranks.of(config()), Ranks.of(config(is_mla_model=True))
    assert split.shard(split.is_split("kv", object())).head_begin == 1
    assert replicated.shard(replicated.is_split("kv", object())).head_begin == 0


def test_of_a_replicated_model_states_and_pools_with_heads_are_split() -> None:
    ranks = Ranks.of(config(is_mla_model=True))
    assert ranks.is_split("mamba", object())
    assert ranks.is_split("draft", SimpleNamespace(head_num=2))


def test_decode_context_parallelism_is_refused() -> None:
    with pytest.raises(ValueError, match="dcp_size is 2"):
        Ranks.of(config(dcp_size=2))


def namespace(**changes: Any) -> Any:
    ranks = Ranks.of(config(**changes.pop("ranks", {})))
    weights = Weights(**({"model": "m", "digest": b"d" * 32} | changes.pop("weights", {})))
    pool = changes.pop("pool", "kv")
    split = changes.pop("split", True)
    order = changes.pop("order", "")
    identity = EngineIdentity(ranks, weights, **({"page_tokens": 64} | changes))
    return identity.namespace(pool, PAGES, split=split, order=order)


@pytest.mark.parametrize(
    "different",
    [
        {"weights": {"model": "n"}},
        {"weights": {"digest": b"e" * 32}},
        {"weights": {"quantization": "fp8"}},
        {"weights": {"settings": "kv_cache_dtype=fp8_e5m2"}},
        {"weights": {"adapters": "aa"}},
        {"ranks": {"tp_size": 8}},
        {"ranks": {"pp_size": 2}},
        {"ranks": {"attn_cp_size": 2}},
        {"page_tokens": 32},
        {"generation": 1},
        {"pool": "swa"},
        {"order": " flat"},
    ],
    ids=str,
)
def test_whatever_differs_makes_another_namespace(different: dict[str, Any]) -> None:
    assert namespace(**different).message() != namespace().message()


def test_ranks_and_sizes_do_not_matter_where_all_hold_the_same() -> None:
    one = namespace(split=False, ranks={"tp_rank": 0, "tp_size": 1})
    assert one.message() == namespace(split=False, ranks={"tp_rank": 3, "tp_size": 8}).message()


def test_the_draft_model_matters_to_its_own_pools_only() -> None:
    drafted: dict[str, Any] = {"weights": {"draft": "aa"}}
    assert namespace(**drafted).message() == namespace().message()
    assert namespace(pool="draft", weights={"draft": "aa"}).message() != namespace(pool="draft").message()
