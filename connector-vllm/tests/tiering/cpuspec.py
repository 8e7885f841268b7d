"""vLLM's tiering spec with a worker for the CPU, where vLLM's own copies with CUDA alone: a test tool, and no product.

Loaded by name (``spec_name`` and ``spec_module_path``), as any spec outside vLLM is.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from vllm.v1.kv_offload.base import OffloadingWorker, TransferResult
from vllm.v1.kv_offload.cpu.shared_offload_region import SharedOffloadRegion
from vllm.v1.kv_offload.tiering.spec import TieringOffloadingSpec

# 0.32 says chunk where 0.29 says block.
_UNIT = "chunk" if "num_chunks" in inspect.signature(SharedOffloadRegion).parameters else "block"


class _Worker(OffloadingWorker):  # type: ignore[misc]  # vLLM is not installed where types are checked
    """Copies at once, one block of the engine to one row of the region."""

    def __init__(self, caches: Any, region: Any, blocks_per_chunk: int) -> None:
        assert blocks_per_chunk == 1
        self._region = region
        self._done: list[Any] = []
        self._pairs = [
            (
                cache.tensor.view(torch.int8).view(-1, cache.page_size_bytes),
                region.create_next_worker_view(cache.page_size_bytes),
            )
            for cache in caches.tensors
        ]

    def submit_store(self, job_id: int, src_spec: Any, dst_spec: Any) -> bool:
        blocks, rows = torch.from_numpy(src_spec.block_ids).long(), torch.from_numpy(dst_spec.block_ids).long()
        for cache, row in self._pairs:
            row[rows] = cache[blocks]
        return self._end(job_id)

    def submit_load(self, job_id: int, src_spec: Any, dst_spec: Any) -> bool:
        blocks, rows = torch.from_numpy(dst_spec.block_ids).long(), torch.from_numpy(src_spec.block_ids).long()
        for cache, row in self._pairs:
            cache[blocks] = row[rows]
        return self._end(job_id)

    def _end(self, job_id: int) -> bool:
        self._done.append(TransferResult(job_id=job_id, success=True, transfer_size=0, transfer_time=0.0))
        return True

    def get_finished(self) -> list[Any]:
        done, self._done = self._done, []
        return done

    def wait(self, job_ids: set[int]) -> None:
        """Nothing is ever under way."""

    def shutdown(self) -> None:
        self._pairs.clear()
        self._region.cleanup()


class CpuTieringSpec(TieringOffloadingSpec):  # type: ignore[misc]
    """The stock spec refuses a worker on the CPU."""

    _worker: Any

    def get_worker(self, kv_caches: Any) -> Any:
        if not self._worker:
            region = SharedOffloadRegion(
                engine_id=self._engine_id,
                rank=self.config.parallel.rank,
                cpu_page_size=self.cpu_page_size_per_worker,
                **{
                    f"num_{_UNIT}s": getattr(self, f"num_{_UNIT}s"),
                    f"kv_bytes_per_{_UNIT}": self.kv_bytes_per_chunk,
                },
            )
            self._worker = _Worker(kv_caches, region, self.blocks_per_chunk)
        return self._worker
