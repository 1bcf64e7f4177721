"""Traces across the API process and the workers, or none: then nothing is imported and done.

The standard variables of OpenTelemetry say where traces go, since every process inherits them.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Mapping

import structlog

from seedbed_server.errors import StartupError
from seedbed_server.jobs.values import Job, Trial

log = structlog.get_logger()

BASE_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
TRACES_PATH = "/v1/traces"
CLOSING_SECONDS = 2.0
_IMPLEMENTATION = "seedbed_server.telemetry.otel"
_PACKAGES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")
_MISSING = (
    'traces are not sent, since OpenTelemetry is not installed: pip install "seedbed[telemetry]"'
)


class CallSpan:
    """A call of the API while it is answered."""

    def end(self, code: str) -> None:
        """`code` is the name of its gRPC status."""


class JobTrace:
    """An attempt at a job. `trace_id` is 32 hexadecimal digits, empty where nothing is traced."""

    trace_id = ""

    def begin_phase(self, name: str) -> None:
        """Ends the phase before."""

    def begin_trial(self, trial: Trial) -> None:
        """A trial that begins or goes on."""

    def end_trial(self, trial: Trial) -> None:
        """As the trial is now."""

    def end(self, outcome: str, reason: str = "") -> None:
        """`outcome` is the job's last state; `reason` the stable reason of an error."""


class Tracing:
    """Traces of a process. This one keeps none."""

    def call(
        self,
        method: str,  # noqa: ARG002
        metadata: Iterable[tuple[str, str | bytes]],  # noqa: ARG002
        *,
        current: bool,  # noqa: ARG002
    ) -> CallSpan:
        """Begins the span of a call, in the trace that its metadata names. With `current` what is
        done in this context belongs to it until its end."""
        return CallSpan()

    def context(self) -> dict[str, str]:
        """The headers of W3C Trace Context for the span that is current; empty without one."""
        return {}

    def job(self, job: Job, device: str) -> JobTrace:  # noqa: ARG002
        """Begins the span of an attempt, in the trace that the job's row names."""
        return JobTrace()

    def close(self, seconds: float = CLOSING_SECONDS) -> None:
        """Sends what is left, for so many seconds at most."""


def endpoint(environment: Mapping[str, str] = os.environ) -> str:
    """The URL that the standard variables tell to send traces to; empty where they do not."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return ""
    if environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return ""
    if own := environment.get(TRACES_ENDPOINT, ""):
        return own
    base = environment.get(BASE_ENDPOINT, "")
    return base and base.rstrip("/") + TRACES_PATH


def installed() -> bool:
    """Whether the extra `telemetry` is there; imports nothing of it but its namespace."""
    try:
        return all(importlib.util.find_spec(package) is not None for package in _PACKAGES)
    except ModuleNotFoundError:
        return False


def choose(base: str) -> None:
    """Sets where this process, and those it starts, send traces: to the collector at the URL
    `base`; empty leaves what the variables say. Raises StartupError where it cannot be done."""
    if not base:
        return
    if not installed():
        raise StartupError(_MISSING, reason="TELEMETRY_NOT_INSTALLED")
    os.environ[TRACES_ENDPOINT] = base.rstrip("/") + TRACES_PATH


def preload() -> tuple[str, ...]:
    """What workers need imported before they are forked."""
    return (_IMPLEMENTATION,) if endpoint() and installed() else ()


def start() -> Tracing:
    """Traces of this process. Starts a thread, so not before a fork."""
    if not endpoint():
        return Tracing()
    if not installed():
        log.warning("traces_not_sent", why=_MISSING)
        return Tracing()
    from seedbed_server.telemetry.otel import OpenTelemetry

    try:
        return OpenTelemetry()
    except Exception as error:  # noqa: BLE001 - whatever the variables say, jobs go on
        log.warning("traces_not_sent", why=f"{type(error).__name__}: {error}")
        return Tracing()
