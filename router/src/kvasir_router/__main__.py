"""``kvasir router``: arguments, settings, the server."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn

from kvasir_router.app import Router
from kvasir_router.settings import RouterSettings, SettingsError, parse_engine, read_settings

_EPILOG = """\
An engine is URL[,role=prefill|decode|both][,node=SOCKET][,node-name=NAME]: where its OpenAI-compatible API is, what
it is for (default: both), the engine socket of the Kvasir node beside it (to ask how much of a prompt lies there), and
that node's name in its cluster (to hand a prefill off to it). A file has the same and all other settings:

  listen: 0.0.0.0:8000
  engines:
    - url: http://10.0.0.1:8100
      role: prefill
      node_name: node-a
    - url: http://10.0.0.2:8100
      role: decode
      node_name: node-b
  timeouts:
    first_byte: 120

Paths: the OpenAI API, GET /health, GET /metrics. docs/router.md has every setting.
"""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = argparse.ArgumentParser(
        prog="./kvasir router",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="An OpenAI-compatible front for several engines: picks each request's engine by health, load and\n"
        "what its node holds, pairs prefill and decode engines, and tries again where that is safe.",
        epilog=_EPILOG,
    )
    result.add_argument("--config", type=Path, metavar="FILE", help="settings as YAML; flags win over it")
    result.add_argument("--listen", metavar="HOST:PORT", help="where to serve (default: 127.0.0.1:8000)")
    result.add_argument(
        "--engine", action="append", metavar="ENGINE", help="an engine, as below; may be repeated; replaces the file's"
    )
    result.add_argument("--check", action="store_true", help="check the settings, say what they are, and end")
    result.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info", help="(default: %(default)s)"
    )
    return result


def settings_of(options: argparse.Namespace) -> RouterSettings:
    """File and flags together.

    Raises:
        SettingsError: names what cannot be used.
    """
    overrides: dict[str, Any] = {}
    if options.listen:
        overrides["listen"] = options.listen
    if options.engine:
        overrides["engines"] = [parse_engine(text) for text in options.engine]
    return read_settings(options.config, overrides)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM or Ctrl-C; then answers under way get their grace."""
    options = parser().parse_args(arguments)
    try:
        settings = settings_of(options)
    except SettingsError as error:
        print(f"kvasir router: {error}", file=sys.stderr)
        return 2
    if options.check:
        print(settings.model_dump_json(indent=2))
        return 0
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    server = uvicorn.Server(
        uvicorn.Config(
            Router(settings).application(),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=round(settings.shutdown_grace),
        )
    )
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
