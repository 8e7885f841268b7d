"""An engine in a process of its own, asked one thing at a time over its standard input.

Run as a script it is the engine's side; :class:`Engine` is the test's.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

ANSWER_S = 240.0  # two ranks take 35 s to start when nothing else runs

PATIENT = {"lookup_timeout": 20.0, "load_timeout": 60.0, "store_timeout": 60.0, "handoff_timeout": 5.0}
"""Whether bytes are right does not depend on how busy the machine is."""

QUICK = {"lookup_timeout": 2.0, "load_timeout": 5.0, "store_timeout": 5.0}
"""For tests in which a node does not answer: each request waits that long for it."""


def transfer(socket: str, **extra: Any) -> dict[str, Any]:
    """vLLM's ``kv_transfer_config`` for a node; patient, unless ``extra`` says otherwise."""
    return {
        "kv_connector": "KvasirConnector",
        "kv_connector_module_path": "kvasir_vllm",
        "kv_role": "kv_both",
        "kv_load_failure_policy": "recompute",
        "kv_connector_extra_config": {"socket": socket, **PATIENT, **extra},
    }


class Engine:
    """The test's end. The process group ends with it, and what it left in /dev/shm."""

    def __init__(
        self, model: Path, log: Path, kv: dict[str, Any] | None = None, *, user: str = "", **options: Any
    ) -> None:
        self.log_file = log
        arguments = json.dumps({"model": str(model), "kv": kv, "options": options})
        command = [sys.executable, __file__, arguments]
        if user:
            command = ["setpriv", f"--reuid={user}", "--clear-groups", "--", *command]
        self._before = set(_leftovers())
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )
        try:
            self._answer()
        except BaseException:
            self.close()
            raise

    @property
    def log(self) -> str:
        """Everything that the engine has said."""
        return self.log_file.read_text(errors="replace")

    def ask(self, do: str, **arguments: Any) -> Any:
        """One question, one answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def generate(
        self,
        prompts: list[list[int]],
        tokens: int = 12,
        params: dict[str, Any] | None = None,
        lora: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Greedy continuations: ``tokens``, ``cached`` (tokens that were not computed), ``finish``.

        ``params`` are each request's ``kv_transfer_params``, ``lora`` the fields of its ``LoRARequest``.
        """
        found: dict[str, Any] = self.ask("generate", prompts=prompts, tokens=tokens, params=params, lora=lora)
        return found

    def forget(self) -> None:
        """Empties the engine's own prefix cache, once stores in flight are done."""
        assert self.ask("forget"), "the engine's cache could not be reset: blocks are still held"

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        end = time.monotonic() + ANSWER_S
        while True:
            ready, _, _ = select.select([self._process.stdout], [], [], max(end - time.monotonic(), 0))
            line = self._process.stdout.readline() if ready else b""
            if not line:
                raise AssertionError(f"the engine did not answer; the end of its log:\n{self.log[-6000:]}")
            if line.startswith(b"ANSWER "):
                return json.loads(line[len("ANSWER ") :])

    def close(self) -> None:
        """Ends it, its workers, and their shared memory."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for file in set(_leftovers()) - self._before:
            with contextlib.suppress(OSError):
                if file.stat().st_uid == os.getuid() and not _in_use(file):
                    file.unlink()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _leftovers() -> list[Path]:
    return list(Path("/dev/shm").glob("psm_*"))


def _in_use(file: Path) -> bool:
    name = str(file)
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            if name in maps.read_text(errors="replace"):
                return True
    return False


class _Serving:
    """The engine's side."""

    def __init__(self, given: dict[str, Any]) -> None:
        import engines

        self._engines = engines
        self._llm = engines.start(Path(given["model"]), given["kv"], **given["options"])
        self._core = self._llm.llm_engine.engine_core.engine_core
        self._connector = self._core.scheduler.connector
        self._hashes: list[list[bytes]] = []
        if self._connector is not None:
            self._watch()

    def _watch(self) -> None:
        inner = self._connector.on_new_request

        def noting(request: Any) -> None:
            self._requests.append(request)
            inner(request)

        self._requests: list[Any] = []
        self._connector.on_new_request = noting

    def generate(
        self, prompts: list[list[int]], tokens: int, params: dict[str, Any] | None, lora: dict[str, Any] | None
    ) -> Any:
        self._requests = []
        began = time.monotonic()
        outputs = self._engines.generate(self._llm, prompts, tokens, params, lora)
        return {
            "tokens": self._engines.tokens_of(outputs),
            "cached": [output.num_cached_tokens for output in outputs],
            "finish": [output.outputs[0].finish_reason for output in outputs],
            "seconds": time.monotonic() - began,
        }

    def forget(self) -> bool:
        self.drain()
        return bool(self._llm.reset_prefix_cache())

    def drain(self) -> bool:
        """Steps until no store is in flight."""
        end = time.monotonic() + 20
        while self._connector is not None and self._connector.has_pending_push_work() and time.monotonic() < end:
            self._llm.llm_engine.step()
        return True

    def new_generation(self) -> bool:
        self.drain()
        return bool(self._core.scheduler.reset_prefix_cache(reset_connector=True))

    def held(self) -> Any:
        self.drain()
        side = self._connector._scheduler
        end = time.monotonic() + 5
        while any(side.held.values()) and time.monotonic() < end:
            self._llm.llm_engine.step()
            time.sleep(0.01)
        return {**side.held, "used_blocks": self._used_blocks()}

    def _used_blocks(self) -> int:
        pool = self._core.scheduler.kv_cache_manager.block_pool
        return int(pool.num_gpu_blocks - 1 - pool.get_num_free_blocks())

    def counts(self) -> Any:
        side = self._connector._scheduler
        return {"offered": side.offered_tokens, "failed_loads": side.failed_loads}

    def groups(self) -> int:
        """KV groups of the model."""
        return len(self._core.scheduler.kv_cache_config.kv_cache_groups)

    def pages(self) -> Any:
        """For each request of the last generate a digest of the pages of each full block of its prompt."""
        from vllm.distributed.kv_transfer import get_kv_transfer_group

        pool = self._core.scheduler.kv_cache_manager.block_pool
        pages = get_kv_transfer_group()._worker._layout.groups[0]
        result = []
        for request in sorted(self._requests, key=lambda item: item.request_id):
            digests = []
            for block_hash in request.block_hashes[: request.num_prompt_tokens // 32]:
                block = pool.get_cached_block(block_hash, [0])
                if block is None:
                    digests.append("")
                    continue
                digest = hashlib.sha256()
                for base, stride, size in zip(pages._base, pages._stride, pages._size, strict=True):
                    digest.update(ctypes.string_at(int(base) + block[0].block_id * int(stride), int(size)))
                digests.append(digest.hexdigest()[:16])
            result.append(digests)
        return result

    def load_zeros(self, on: bool = True) -> bool:
        """From now on every load ends with zeros in its blocks: what a test must notice."""
        from vllm.distributed.kv_transfer import get_kv_transfer_group

        worker = get_kv_transfer_group()._worker
        if not on:
            del worker._load_now
            return True
        inner = worker._load_now

        def zeroing(order: Any, *arguments: Any) -> Any:
            bad = inner(order, *arguments)
            pieces = worker._layout.load_pieces(order.first_chunk, order.begin, order.blocks)
            for address, length in zip(pieces.address.tolist(), pieces.length.tolist(), strict=True):
                ctypes.memset(address, 0, length)
            return bad

        worker._load_now = zeroing
        return True

    def tell_no_speed(self) -> bool:
        """From now on the node is not told how fast this engine computes, so that every load is worth its while."""
        self._connector._scheduler._speed.ended = lambda _: None
        self._connector._scheduler._speed.tokens_per_s = 0.0
        return True

    def fail_loads(self, on: bool) -> bool:
        """A holder that always says hit and always fails."""
        from vllm.distributed.kv_transfer import get_kv_transfer_group

        worker = get_kv_transfer_group()._worker
        if on:

            def failing(*_: Any) -> Any:
                raise RuntimeError("the bytes did not come")

            worker._load_now = failing
        elif "_load_now" in vars(worker):
            del worker._load_now
        return True


def _serve() -> None:
    # vLLM prints; answers go where the test reads, and everything else to the log.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    serving = _Serving(json.loads(sys.argv[1]))
    answers.write("ANSWER true\n")
    for line in sys.stdin:
        question = json.loads(line)
        answers.write(f"ANSWER {json.dumps(getattr(serving, question.pop('do'))(**question))}\n")
    if serving._connector is not None:
        serving._connector.shutdown()


if __name__ == "__main__":
    _serve()
