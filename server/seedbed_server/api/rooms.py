"""What the servicers call: the rooms of the service, built once at the start."""

from __future__ import annotations

from dataclasses import dataclass

from seedbed_server.api.watching import Watching
from seedbed_server.catalogue import Catalogue
from seedbed_server.data.references import Policy
from seedbed_server.executors.call_pool import CallPool
from seedbed_server.executors.dispatcher import Dispatcher
from seedbed_server.serving.front import PredictionFront
from seedbed_server.settings import Settings
from seedbed_server.store import Files, Store
from seedbed_server.telemetry.metrics import Metrics
from seedbed_server.telemetry.tracing import Tracing


@dataclass(frozen=True)
class Rooms:
    """The rooms behind the interface."""

    settings: Settings
    files: Files
    store: Store
    policy: Policy
    calls: CallPool
    catalogue: Catalogue
    dispatcher: Dispatcher
    watching: Watching
    predictions: PredictionFront
    metrics: Metrics
    tracing: Tracing
