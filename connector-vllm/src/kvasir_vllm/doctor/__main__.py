"""``kvasir doctor --engine``: arguments, the checks, the exit status."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence

from kvasir.engine.options import ConfigurationError
from kvasir.places import default_socket

from kvasir_vllm.doctor import configuration
from kvasir_vllm.doctor.engine import ServedEngine, check, compare
from kvasir_vllm.doctor.findings import Finding, Grade


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = argparse.ArgumentParser(
        prog="./kvasir doctor",
        description="Says why a vLLM engine has no hits: checks its flags or the running engine, whether the node "
        "answers, and whether two engines file under one namespace. Without --engine: checks this machine.",
    )
    result.add_argument(
        "--engine",
        action="append",
        required=True,
        metavar="URL-OR-CONFIG",
        help="a running engine's URL; or its --kv-transfer-config as JSON; or a file with its settings. Two URLs are "
        "also compared with each other",
    )
    result.add_argument(
        "--node",
        default="",
        metavar="SOCKET",
        help=f"the engine socket of the node beside a running engine (default: {default_socket()})",
    )
    result.add_argument("--token", default="", help="the tenant's, where the node is configured with tokens")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """1 when there is a problem, 2 when an argument cannot be used."""
    options = parser().parse_args(arguments)
    found: list[Finding] = []

    def tell(title: str, findings: Sequence[Finding]) -> None:
        print(title)
        for finding in findings:
            print(finding)
        found.extend(findings)

    running: list[ServedEngine] = []
    for text in options.engine:
        if text.startswith(("http://", "https://")):
            engine = ServedEngine.ask(text)
            tell(text, [engine] if isinstance(engine, Finding) else check(engine))
            if isinstance(engine, ServedEngine):
                running.append(engine)
            continue
        try:
            settings = configuration.read(text)
        except ConfigurationError as error:
            print(f"kvasir doctor: {error}", file=sys.stderr)
            return 2
        tell("the engine's configuration", configuration.check(settings))
    if running or options.node:
        tell("the node", [configuration.reachable(options.node or default_socket(), options.token)])
    pairs = list(itertools.pairwise(running))
    if pairs:
        tell("together", [compare(first, second) for first, second in pairs])
    problems = sum(finding.grade is Grade.PROBLEM for finding in found)
    print(f"\n{problems} problem(s), {sum(finding.grade is Grade.NOTE for finding in found)} note(s)")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
