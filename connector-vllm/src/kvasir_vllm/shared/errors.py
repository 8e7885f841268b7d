"""Why a connector does not start. Everything later is a miss and a log line, never an error."""

from __future__ import annotations


class ConfigurationError(ValueError):
    """The connector's own options, or vLLM's configuration, do not fit; the message says what to change."""


class UnsupportedError(RuntimeError):
    """This vLLM, model or device cannot be served without risking wrong bytes; the message says why."""
