"""vLLM's real scheduler with the real connector, both halves, and a real node; the test plays the model runner.

There is no model: a block that was computed holds bytes made of its own hash, so that every block a request is
scheduled on top of can be checked, whether it was computed, found in the engine's cache, or loaded.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from engine_process import transfer
from engines import settings

BLOCK = 32
VOCABULARY = 1000


class WrongBytesError(AssertionError):
    """A request was to be computed on top of a block that does not hold its own KV."""


@dataclass
class Harness:
    """One engine without a model.

    Args:
        model: a folder with a configuration.
        socket: the node's.
        blocks: of the engine's cache.
        asynchronous: vLLM's asynchronous scheduler; its outputs come ``delay`` steps later.
        extra: options of the connector.
        events: vLLM publishes KV events.
        sequences, batched: how many requests, and how many tokens, a step may have.
        ran: called with each step that has run, before the scheduler gets its output.
    """

    model: Path
    socket: str
    blocks: int = 400
    asynchronous: bool = False
    delay: int = 0
    seed: int = 0
    extra: dict[str, Any] = field(default_factory=dict)
    events: bool = False
    sequences: int = 16
    batched: int = 512
    ran: Callable[[Any], None] | None = None

    def __post_init__(self) -> None:
        settings()
        from vllm.config import KVTransferConfig
        from vllm.distributed import parallel_state
        from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorRole
        from vllm.engine.arg_utils import EngineArgs
        from vllm.utils.hashing import get_hash_fn_by_name
        from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
        from vllm.v1.core.sched.async_scheduler import AsyncScheduler
        from vllm.v1.core.sched.scheduler import Scheduler
        from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
        from vllm.v1.structured_output import StructuredOutputManager

        from kvasir_vllm.connector import KvasirConnector

        kv = transfer(self.socket, chunk_tokens=2 * BLOCK) | {}
        kv["kv_connector_extra_config"] |= self.extra
        self.config = EngineArgs(
            model=str(self.model), skip_tokenizer_init=True, enforce_eager=True, max_model_len=4096, block_size=BLOCK,
            max_num_seqs=self.sequences, max_num_batched_tokens=self.batched, kv_transfer_config=KVTransferConfig(**kv),
        ).create_engine_config()  # fmt: skip
        self.config.cache_config.num_gpu_blocks = self.blocks
        self.config.scheduler_config.async_scheduling = self.asynchronous
        if self.events:
            from vllm.config import KVEventsConfig

            self.config.kv_events_config = KVEventsConfig(enable_kv_cache_events=True, publisher="null")
        spec = FullAttentionSpec(block_size=BLOCK, num_kv_heads=1, head_size=16, dtype=torch.bfloat16)
        kv_cache = KVCacheConfig(self.blocks, [], [KVCacheGroupSpec(["layer.0"], spec)])
        self.pages = torch.zeros((self.blocks, 1, BLOCK, 32), dtype=torch.bfloat16)
        self._bytes = self.pages.view(torch.uint8).numpy().reshape(self.blocks, -1)
        groups = parallel_state.get_tp_group, parallel_state.get_pp_group
        parallel_state.get_tp_group = parallel_state.get_pp_group = lambda: SimpleNamespace(rank_in_group=0)
        try:
            self.worker = KvasirConnector(self.config, KVConnectorRole.WORKER, kv_cache)
            self.worker.register_kv_caches({"layer.0": self.pages})
        finally:
            parallel_state.get_tp_group, parallel_state.get_pp_group = groups
        kind = AsyncScheduler if self.asynchronous else Scheduler
        self.scheduler = kind(
            vllm_config=self.config, kv_cache_config=kv_cache, block_size=BLOCK, hash_block_size=BLOCK,
            structured_output_manager=StructuredOutputManager(self.config),
        )  # fmt: skip
        self.connector = self.scheduler.connector
        self.connector.set_xfer_handshake_metadata_pp_aware({(0, 0): self.worker.get_handshake_metadata()})
        hashing = get_hash_fn_by_name("sha256")
        init_none_hash(hashing)
        self._hasher = get_request_block_hasher(BLOCK, hashing)
        self._random = random.Random(self.seed)
        self._queue: deque[tuple[Any, dict[str, int], dict[str, tuple[Any, list[int]]]]] = deque()
        self.finished: dict[str, str] = {}
        self.loaded_tokens = 0
        self.steps = 0

    def add(self, name: str, prompt: list[int], tokens: int = 8) -> Any:
        """A request for ``tokens`` more."""
        from vllm import SamplingParams
        from vllm.v1.request import Request

        request = Request(
            name, prompt, SamplingParams(max_tokens=tokens, ignore_eos=True), None, block_hasher=self._hasher
        )
        self.scheduler.add_request(request)
        return request

    def abort(self, name: str) -> None:
        """The client has gone."""
        from vllm.v1.request import RequestStatus

        self.scheduler.finish_requests(name, RequestStatus.FINISHED_ABORTED)
        self.finished.setdefault(name, "aborted")

    def step(self) -> None:
        """Schedules, and executes what is due."""
        self.steps += 1
        step = self.scheduler.schedule()
        starts = {item.req_id: item.num_computed_tokens for item in step.scheduled_new_reqs}
        cached = step.scheduled_cached_reqs
        starts |= dict(zip(cached.req_ids, cached.num_computed_tokens, strict=True))
        # What the runner is given: it computes also for a request that is aborted or preempted meanwhile.
        tables = {
            name: (self.scheduler.requests[name], self.scheduler.kv_cache_manager.get_block_ids(name)[0])
            for name in step.num_scheduled_tokens
        }
        self._queue.append((step, starts, tables))
        while len(self._queue) > (self.delay if step.total_num_scheduled_tokens else 0):
            self._execute(*self._queue.popleft())

    def _execute(self, step: Any, starts: dict[str, int], tables: dict[str, tuple[Any, list[int]]]) -> None:
        from vllm.v1.outputs import KVConnectorOutput, ModelRunnerOutput

        worker, ids, sampled = self.worker, [], []
        worker.bind_connector_metadata(step.kv_connector_metadata)
        for name, count in step.num_scheduled_tokens.items():
            ids.append(name)
            sampled.append(self._compute(*tables[name], starts[name], count))
        worker.start_load_kv(None)
        worker.wait_for_save()
        output = KVConnectorOutput()
        if hasattr(worker, "get_transfer_results") and hasattr(output, "failed_recving"):
            results = worker.get_transfer_results(step.finished_req_ids)
            output.finished_recving, output.failed_recving = results.finished_recving, results.failed_recving
        else:
            output.finished_sending, output.finished_recving = worker.get_finished(step.finished_req_ids)
        output.invalid_block_ids = worker.get_block_ids_with_load_errors()
        output.kv_connector_worker_meta = worker.build_connector_worker_meta()
        worker.clear_connector_metadata()
        ran = ModelRunnerOutput(ids, {name: row for row, name in enumerate(ids)}, sampled, kv_connector_output=output)
        if self.ran is not None:
            self.ran(step)
        for outputs in self.scheduler.update_from_output(step, ran).values():
            for one in outputs.outputs:
                if one.finish_reason is not None:
                    self.finished[one.request_id] = one.finish_reason.name.lower()

    def _compute(self, request: Any, table: list[int], start: int, count: int) -> list[int]:
        """Checks what the tokens stand on, writes their blocks, and samples when the prompt is done."""
        hashes = request.block_hashes
        for index in range(min(start // BLOCK, len(hashes))):
            if not (self._bytes[table[index]] == self._pattern(hashes[index])).all():
                raise WrongBytesError(f"{request.request_id}: block {index} at {table[index]}, of {start} tokens")
        for index in range(start // BLOCK, min((start + count) // BLOCK, len(hashes))):
            self._bytes[table[index]] = self._pattern(hashes[index])
        return [self._random.randrange(VOCABULARY)] if start + count >= request.num_tokens else []

    def _pattern(self, block_hash: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return np.resize(np.frombuffer(block_hash, np.uint8), self._bytes.shape[1])

    def run(self, most: int = 5000) -> None:
        """Until no request is left and nothing is in flight."""
        for _ in range(most):
            if not self.scheduler.has_requests() and not self._queue:
                return
            self.step()
        raise AssertionError(f"after {most} steps there is still something to do: {self.scheduler.requests.keys()}")

    def held(self) -> dict[str, int]:
        """What is not free; all zeros at the end."""
        pool = self.scheduler.kv_cache_manager.block_pool
        used = pool.num_gpu_blocks - 1 - pool.get_num_free_blocks()
        return {**self.connector._scheduler.held, "blocks": used}

    def forget(self) -> None:
        """Empties the engine's own cache."""
        assert self.scheduler.reset_prefix_cache()

    def close(self) -> None:
        """Ends both halves."""
        self.worker.shutdown()
        self.connector.shutdown()
