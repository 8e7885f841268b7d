"""What the requests of one router share."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp

from kvasir_router.engines import Fleet
from kvasir_router.metrics import Metrics
from kvasir_router.prompts import Prompts
from kvasir_router.settings import RouterSettings


@dataclass(frozen=True)
class Services:
    """Made when the router starts; the application owns and closes what it names.

    Attributes:
        settings: of the router.
        metrics: what is counted.
        http: connections to engines.
        fleet: the engines and their health.
        prompts: how long prompts are, and which nodes hold them.
    """

    settings: RouterSettings
    metrics: Metrics
    http: aiohttp.ClientSession
    fleet: Fleet
    prompts: Prompts
