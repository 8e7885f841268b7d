"""``KvasirTier``: vLLM's ``SecondaryTierManager`` on the node beside the engine."""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import vllm
from kvasir import Client, KvasirError, Pieces, SlotStatus
from kvasir.engine.weights import directory_of
from vllm.platforms import current_platform
from vllm.v1.core import kv_cache_utils
from vllm.v1.kv_offload.base import LookupResult, Medium, RequestOffloadingContext
from vllm.v1.kv_offload.tiering.base import JobResult, SecondaryTierManager, TransferJob

from kvasir_vllm.shared.chunks import key_of
from kvasir_vllm.shared.fingerprint import weights_digest as digest_of_files
from kvasir_vllm.tiering.identity import group_of, hash_of, namespace_of, processor, shards_of
from kvasir_vllm.tiering.lookups import Found, RowAnswer, RowLookups
from kvasir_vllm.tiering.node_session import NodeSession

_log = logging.getLogger(__name__)

_JOB_FIELDS: Final = {job_field.name for job_field in fields(TransferJob)}
#: 0.29 says ``block_ids``, 0.32 ``chunk_ids``: the same rows of the region.
_ROWS: Final = next((name for name in ("chunk_ids", "block_ids") if name in _JOB_FIELDS), "")
if not _ROWS:
    raise ImportError(
        f"vLLM {vllm.__version__}: TransferJob has neither chunk_ids nor block_ids but {sorted(_JOB_FIELDS)}; "
        "this version of kvasir-vllm does not know its tiering interface"
    )

_RESULTS: Final = {Found.ASKED: LookupResult.RETRY, Found.LEASED: LookupResult.HIT, Found.MISSING: LookupResult.MISS}


class KvasirTier(SecondaryTierManager):  # type: ignore[misc]  # vLLM is not installed where types are checked
    """A secondary tier whose rows are objects of the node.

    vLLM's scheduler calls it and is never kept waiting: lookups are answered from memory, and threads of three kinds do
    the rest, so that neither a store nor a long load holds up a lookup. What the node cannot do in time is a miss, or a
    job that failed; no exception leaves this class.

    Args:
        offloading_spec: vLLM's; its ``config`` decides the namespace.
        primary_kv_view: vLLM's region, one row for each of its chunks.
        tier_type: the name in vLLM's metrics.
        socket: the node's engine socket.
        token: names the tenant, where the node is configured with tokens.
        lookup_deadline_ms: a lookup that takes longer is a miss.
        transfer_deadline_ms: a load or store that takes longer has failed.
        max_pending_stores: store jobs that wait; a further one fails at once, so that a slow node does not keep vLLM's
            region pinned.
        verify: check CRC32C of everything that is loaded (needs google-crc32c).
        model_id: instead of the model's name in the namespace.
        weights_digest: the identity of the weights; empty: a digest of the files.
        namespace: further named fields of the namespace.
        backpressure_detector: vLLM's, from 0.32 on.
    """

    medium = Medium.CPU

    def __init__(
        self,
        offloading_spec: Any,
        primary_kv_view: memoryview,
        tier_type: str,
        *,
        socket: str,
        token: str = "",
        lookup_deadline_ms: float = 100.0,
        transfer_deadline_ms: float = 5000.0,
        max_pending_stores: int = 64,
        verify: bool = False,
        model_id: str = "",
        weights_digest: str = "",
        namespace: Mapping[str, str] | None = None,
        backpressure_detector: Any = None,
    ) -> None:
        shared = {} if backpressure_detector is None else {"backpressure_detector": backpressure_detector}
        super().__init__(offloading_spec, primary_kv_view, tier_type, **shared)
        config = offloading_spec.config
        self._rows = np.asarray(primary_kv_view)
        row_bytes = self._rows.shape[1] * self._rows.itemsize
        shards = shards_of(config)
        device = processor() if current_platform.is_cpu() else str(current_platform.get_device_name())
        digest = (
            hashlib.sha256(weights_digest.encode()).digest()
            if weights_digest
            else self._digest_of_files(config.model.name)
        )

        def connect(attach_deadline: float) -> Client | None:
            none_hash = getattr(kv_cache_utils, "NONE_HASH", None)
            if none_hash is None:
                return None  # vLLM chooses its hash after it has made its tiers
            identity = namespace_of(
                config,
                row_bytes,
                none_hash=bytes(none_hash),
                engine_version=vllm.__version__,
                device=device,
                model_id=model_id,
                weights_digest=digest,
                extra=namespace,
            )
            return Client.connect(
                socket,
                namespace=identity,
                shards=shards,
                name="vllm-tiering",
                token=token.encode(),
                attach_deadline=attach_deadline,
            )

        self._transfer_seconds = transfer_deadline_ms / 1000
        self._max_pending_stores = max_pending_stores
        self._verify = verify
        self._session = NodeSession(connect)
        # A lookup may wait for what is on its way into DRAM; others go on meanwhile.
        self._looking = ThreadPoolExecutor(4, "kvasir-tier-lookup")
        self._loading = ThreadPoolExecutor(2, "kvasir-tier-load")
        self._storing = ThreadPoolExecutor(1, "kvasir-tier-store")
        self._lookups = RowLookups(self._ask, self._looking, lookup_deadline_ms / 1000)
        self._jobs: dict[Future[JobResult], TransferJob] = {}

    @staticmethod
    def _digest_of_files(model: str) -> bytes:
        digest, unknown = digest_of_files(model, None)
        place = directory_of(model, None)
        if place is not None and not Path(model).is_dir() and len(list(place.parent.iterdir())) > 1:
            unknown = (
                f"the hub's cache has several revisions of {model}, and vLLM does not tell a tier which one runs; "
                "set weights_digest"
            )
        if unknown:
            # Only the name tells weights apart then: an engine that met other weights under it would load their KV.
            _log.warning("Kvasir: this engine shares with no other: %s", unknown)
            return uuid.uuid4().bytes
        return digest

    # ---- what vLLM's scheduler calls

    def lookup(self, key: bytes, req_context: Any) -> LookupResult:
        """HIT: in the node's DRAM, verified and leased. RETRY: asked. MISS: anything else."""
        return _RESULTS[self._lookups.look(req_context.req_id, key)]

    def on_schedule_end(self, context: Any) -> None:  # noqa: ARG002 - vLLM's signature
        """Sends this step's lookups."""
        self._lookups.send()

    def submit_store(self, job_metadata: TransferJob) -> None:
        """Copies rows to the node, on a thread."""
        waiting = sum(not job.is_promotion for job in self._jobs.values())
        self._submit(self._storing, self._store, job_metadata, refused=waiting >= self._max_pending_stores)

    def submit_load(self, job_metadata: TransferJob) -> None:
        """Copies rows from the node, on a thread."""
        self._submit(self._loading, self._load, job_metadata)

    def _submit(self, executor: ThreadPoolExecutor, work: Any, job: TransferJob, *, refused: bool = False) -> None:
        if refused:
            future: Future[JobResult] = Future()
            future.set_result(JobResult(job.job_id, False))
        else:
            future = executor.submit(work, job, time.monotonic())
        self._jobs[future] = job

    def get_finished_jobs(self) -> Iterable[JobResult]:
        """Jobs that ended since the last call."""
        done = [future for future in self._jobs if future.done()]
        results = []
        for future in done:
            job = self._jobs.pop(future)
            # Cancelled only by shutdown(), and then nobody asks.
            result = JobResult(job.job_id, False) if future.cancelled() else future.result()
            if job.is_promotion and not result.success:
                arrived = set(result.successful_keys or ())
                self._lookups.failed(job.req_context.req_id, [key for key in job.keys if key not in arrived])
            results.append(result)
        return results

    def on_new_request(self, req_context: Any) -> RequestOffloadingContext:  # noqa: ARG002 - vLLM's signature
        """No wish about how this request is offloaded."""
        return RequestOffloadingContext()

    def on_request_finished(self, req_context: Any) -> None:
        """Gives back what the request had leased. Its jobs go on."""
        self._lookups.ended(req_context.req_id)

    def drain_jobs(self) -> None:
        """Waits until no job touches vLLM's region: at most the deadline of each one that is under way or queued."""
        wait(list(self._jobs))

    def shutdown(self) -> None:
        """Ends the threads, then the attachment, and lets go of vLLM's region."""
        for executor in (self._looking, self._loading, self._storing):
            executor.shutdown(wait=True, cancel_futures=True)
        self._lookups.close()
        self._session.close()
        self._jobs.clear()
        self._rows = np.zeros((0, 0), np.int8)

    # ---- what the threads do

    def _ask(self, group: int, keys: Sequence[bytes], seconds: float) -> RowAnswer:
        nothing = RowAnswer([False] * len(keys), None)
        client = self._session.usable()
        if client is None:
            return nothing
        try:
            lease = client.lookup(_packed(keys), sparse=True, shards=(group,), wait=seconds, deadline=seconds)
        except Exception as error:  # whatever it is, to vLLM it is a miss
            self._fail(error)
            return nothing
        self._session.succeeded()
        leased = (lease.slots["status"] == SlotStatus.HIT).reshape(-1).tolist()
        return RowAnswer(leased, lease if lease.id else None)

    def _load(self, job: TransferJob, submitted: float) -> JobResult:
        rows = np.asarray(getattr(job, _ROWS))
        keys = list(job.keys)
        arrived: list[bytes] = []
        try:
            client = self._usable()
            for group, indices in _by_group(keys).items():
                wanted = [keys[index] for index in indices]
                arrived += self._load_group(client, group, wanted, rows[indices], self._left(submitted))
        except Exception as error:
            self._fail(error)
        else:
            self._session.succeeded()
        seconds = time.monotonic() - submitted
        if len(arrived) == len(keys):
            return JobResult(job.job_id, True, transfer_time=seconds)
        return JobResult(job.job_id, False, successful_keys=arrived, transfer_time=seconds)

    def _load_group(self, client: Client, group: int, keys: Sequence[bytes], rows: Any, seconds: float) -> list[bytes]:
        end = time.monotonic() + seconds
        with client.lookup(_packed(keys), sparse=True, shards=(group,), deadline=seconds) as lease:
            hits = np.flatnonzero((lease.slots["status"] == SlotStatus.HIT).reshape(-1))
            if not len(hits):
                return []
            left = max(end - time.monotonic(), 0.0)
            result = client.load(lease, self._pieces(rows[hits], hits), verify=self._verify, deadline=left)
            return [keys[index] for index in hits.tolist() if result.loaded[index, 0]]

    def _store(self, job: TransferJob, submitted: float) -> JobResult:
        rows = np.asarray(getattr(job, _ROWS))
        stored = 0
        keys = list(job.keys)
        try:
            client = self._usable()
            for group, indices in _by_group(keys).items():
                packed = _packed([keys[index] for index in indices])
                pieces = self._pieces(rows[indices], np.arange(len(indices)))
                result = client.store(packed, pieces, shard=group, deadline=self._left(submitted))
                stored += int(result.present.sum())
        except Exception as error:
            self._fail(error)
        else:
            self._session.succeeded()
        return JobResult(job.job_id, stored == len(keys), transfer_time=time.monotonic() - submitted)

    def _pieces(self, rows: Any, objects: Any) -> Pieces:
        """Whole objects beside rows of vLLM's region."""
        row_bytes = self._rows.shape[1] * self._rows.itemsize
        base = self._rows.__array_interface__["data"][0]
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(self._rows):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of a region with {len(self._rows)}")
        count = len(rows)
        return Pieces(
            np.asarray(objects),
            np.zeros(count, np.uint64),
            base + rows.astype(np.uint64) * np.uint64(self._rows.strides[0]),
            np.full(count, row_bytes, np.uint64),
        )

    def _usable(self) -> Client:
        client = self._session.usable()
        if client is None:
            raise _NotYetError
        return client

    def _left(self, submitted: float) -> float:
        left = self._transfer_seconds - (time.monotonic() - submitted)
        if left <= 0:
            raise TimeoutError("the job waited longer than its deadline")
        return left

    def _fail(self, error: Exception) -> None:
        if isinstance(error, _NotYetError):
            return
        if not isinstance(error, KvasirError | TimeoutError):
            _log.error("Kvasir: a job failed", exc_info=error)
        self._session.failed(error)


class _NotYetError(Exception):
    """The node is not asked now; nothing was learned about it."""


def _packed(keys: Sequence[bytes]) -> bytes:
    return b"".join([key_of(hash_of(key)) for key in keys])


def _by_group(keys: Collection[bytes]) -> dict[int, list[int]]:
    """Indices of keys, for each KV group."""
    found: dict[int, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        found[group_of(key)].append(index)
    return found
