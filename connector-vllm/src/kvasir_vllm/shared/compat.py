"""What this vLLM offers, found out once at import; an unknown half-state is refused rather than guessed at."""

from __future__ import annotations

import dataclasses
from typing import Any

import vllm
from vllm.distributed.kv_transfer.kv_connector.v1 import base
from vllm.v1.core.sched import output as scheduler_output
from vllm.v1.outputs import KVConnectorOutput

from kvasir_vllm.shared.errors import UnsupportedEngineError

VERSION: str = vllm.__version__
OLDEST = "0.29"
NEWEST_TRIED = "0.32"


def _refuse(what: str) -> UnsupportedEngineError:
    return UnsupportedEngineError(
        f"Kvasir does not work with this vLLM ({VERSION}): {what}. It is made for {OLDEST} and later and was tried to "
        f"{NEWEST_TRIED}; use one of these, or a newer kvasir-vllm"
    )


def _failed_receives() -> bool:
    """Whether a request whose load failed can be named (0.30 and later); without it only single blocks can."""
    signs = {
        "KVConnectorTransferResults": hasattr(base, "KVConnectorTransferResults"),
        "get_transfer_results": hasattr(base.KVConnectorBase_V1, "get_transfer_results"),
        "KVConnectorOutput.failed_recving": "failed_recving" in {f.name for f in dataclasses.fields(KVConnectorOutput)},
    }
    if len(set(signs.values())) != 1:
        missing = ", ".join(name for name, there in signs.items() if not there)
        raise _refuse(f"it reports failed loads of requests in part only; {missing} is missing")
    return all(signs.values())


def _tables_on_demand() -> bool:
    """Whether the block table of every scheduled request can be had, or only of those that got new blocks (0.29)."""
    state = getattr(scheduler_output, "KVConnectorBlockState", None)
    if state is None:
        raise _refuse("its scheduler does not show the block tables to connectors")
    if hasattr(state, "get_block_ids"):
        return True
    if "block_ids" in {field.name for field in dataclasses.fields(state)}:
        return False
    raise _refuse("its KVConnectorBlockState has neither get_block_ids nor block_ids")


for _needed in ("on_new_request", "update_connector_output", "build_connector_worker_meta", "has_pending_push_work"):
    if not hasattr(base.KVConnectorBase_V1, _needed):
        raise _refuse(f"its connectors have no {_needed}")
if not hasattr(base, "SupportsHMA"):
    raise _refuse("it has no SupportsHMA")

FAILED_RECEIVES = _failed_receives()
TABLES_ON_DEMAND = _tables_on_demand()


def block_table(step: Any, request: str) -> tuple[list[int], ...] | None:
    """The request's block ids for each KV group, as of this step; None when they have not changed (0.29).

    Args:
        step: vLLM's ``SchedulerOutput``, while it is being built.
        request: id.
    """
    state = step.kv_connector_block_state
    if state is None:
        return None
    table: tuple[list[int], ...] | None = (
        state.get_block_ids(request) if TABLES_ON_DEMAND else state.block_ids.get(request)
    )
    return table


def transfer_results(received: set[str], failed: set[str]) -> Any:
    """What ``get_transfer_results`` returns."""
    return base.KVConnectorTransferResults(finished_recving=received, failed_recving=failed)
