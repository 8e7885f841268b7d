"""Why a connector does not start. Everything later is a miss and a log line, never an error."""

from __future__ import annotations


class UnsupportedEngineError(RuntimeError):
    """This vLLM, model or device cannot be served without risking wrong bytes; the message says why."""
