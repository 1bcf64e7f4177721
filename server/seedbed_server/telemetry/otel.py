"""Traces by OpenTelemetry, sent in batches over OTLP/HTTP. Imported only where they are wanted.

Spans hold no data and no text that could hold some: ids, numbers, names of tasks and architectures.
"""

from __future__ import annotations

import logging
import math
import os
import random
import threading
import time
from collections.abc import Iterable
from datetime import datetime

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.exporter.otlp.common import http
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from seedbed_server import __version__
from seedbed_server.jobs.values import Job, Trial, TrialState
from seedbed_server.telemetry.tracing import CLOSING_SECONDS, CallSpan, JobTrace, Tracing

# Search and plugins seed the interpreter's generator; neither may ids repeat for a seed, nor may a
# thread that waits for a collector change what a trial draws.
_system = random.SystemRandom()
setattr(http, "random", _system)  # noqa: B010 - a module's name, which has no type to assign to

SILENT_SECONDS = 60.0
_EXPORTER_LOG = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_W3C = TraceContextTextMapPropagator()
_HEADERS = frozenset(_W3C.fields)
# The codes that are the server's fault, as OpenTelemetry's conventions for gRPC have it.
_FAULTS = frozenset(
    ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
)


class _Seldom(logging.Filter):
    """Lets a line through once a minute: a collector that is away is so for every batch."""

    _last = -math.inf

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.ERROR or time.monotonic() - self._last < SILENT_SECONDS:
            return False
        self._last = time.monotonic()
        return True


class _Ids(IdGenerator):
    def generate_span_id(self) -> int:
        return _system.randrange(1, 2**64)

    def generate_trace_id(self) -> int:
        return _system.randrange(1, 2**128)

    def is_trace_id_random(self) -> bool:
        return True


class OpenTelemetry(Tracing):
    """Sends to where the standard variables say, from a thread of its own. A collector that is away
    loses spans and nothing else."""

    def __init__(self) -> None:
        self._provider = TracerProvider(
            resource=_resource(), id_generator=_Ids(), shutdown_on_exit=False
        )
        logging.getLogger(_EXPORTER_LOG).addFilter(_Seldom())
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("seedbed_server", __version__)

    def call(
        self, method: str, metadata: Iterable[tuple[str, str | bytes]], *, current: bool
    ) -> CallSpan:
        headers = {k: v for k, v in metadata if k in _HEADERS and isinstance(v, str)}
        service, _, name = method.partition("/")
        span = self._tracer.start_span(
            method,
            context=_W3C.extract(headers, context=contexts.Context()),
            kind=SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": name},
        )
        return _Call(span, current=current)

    def context(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        _W3C.inject(headers)
        return headers

    def job(self, job: Job, device: str) -> JobTrace:
        return _JobTrace(self._tracer, job, device)

    def close(self, seconds: float = CLOSING_SECONDS) -> None:
        # The provider would wait half a minute for a collector that does not answer.
        closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(seconds)


class _Call(CallSpan):
    def __init__(self, span: trace.Span, *, current: bool) -> None:
        self._span = span
        self._token = contexts.attach(trace.set_span_in_context(span)) if current else None

    def end(self, code: str) -> None:
        if self._token is not None:
            contexts.detach(self._token)
        self._span.set_attribute("rpc.response.status_code", code)
        if code in _FAULTS:
            self._span.set_status(Status(StatusCode.ERROR, code))
        self._span.end()


class _JobTrace(JobTrace):
    def __init__(self, tracer: trace.Tracer, job: Job, device: str) -> None:
        self._tracer = tracer
        self._of_job: dict[str, str | int] = {
            "seedbed.job.id": job.id,
            "seedbed.job.attempt": job.attempt,
        }
        parent = _W3C.extract(job.trace_context, context=contexts.Context())
        if job.attempt == 1 and job.start_time is not None:
            queued = self._start("job.queued", parent, _nanoseconds(job.create_time))
            queued.end(_nanoseconds(job.start_time))
        leased = job.state_time
        self._job = self._start("job", parent, None if leased is None else _nanoseconds(leased))
        self._job.set_attributes({"seedbed.task": job.task, "seedbed.device": device})
        self._inside = trace.set_span_in_context(self._job, parent)
        self._phase: trace.Span | None = None
        self._phase_name = ""
        self._trials: dict[int, trace.Span] = {}
        self._ended = False
        self.trace_id = f"{self._job.get_span_context().trace_id:032x}"

    def _start(self, name: str, parent: contexts.Context, at: int | None = None) -> trace.Span:
        return self._tracer.start_span(name, context=parent, attributes=self._of_job, start_time=at)

    def begin_phase(self, name: str) -> None:
        if name == self._phase_name:
            return
        self._end_phase()
        self._phase = self._start(name, self._inside)
        self._phase_name = name

    def _end_phase(self) -> None:
        if self._phase is not None:
            self._phase.end()
            self._phase = None

    def begin_trial(self, trial: Trial) -> None:
        parent = self._inside
        if self._phase is not None:
            parent = trace.set_span_in_context(self._phase, parent)
        span = self._trials[trial.number] = self._start("trial", parent)
        span.set_attributes(
            {
                "seedbed.trial.number": trial.number,
                "seedbed.trial.architecture": trial.architecture,
                "seedbed.trial.baseline": trial.baseline,
                "seedbed.trial.origin": str(trial.origin),
                "seedbed.trial.resumed": trial.epochs > 0,
            }
        )

    def end_trial(self, trial: Trial) -> None:
        span = self._trials.pop(trial.number, None)
        if span is None:
            return
        span.set_attributes(
            {
                "seedbed.trial.outcome": str(trial.state),
                "seedbed.trial.epochs": trial.epochs,
                "seedbed.trial.samples": trial.samples,
            }
        )
        if trial.validation_score is not None:
            span.set_attribute("seedbed.trial.score", trial.validation_score)
        if trial.state is TrialState.FAILED:
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def end(self, outcome: str, reason: str = "") -> None:
        if self._ended:
            return
        self._ended = True
        for span in self._trials.values():
            span.set_attribute("seedbed.trial.outcome", "INTERRUPTED")
            span.end()
        self._end_phase()
        self._job.set_attribute("seedbed.job.outcome", outcome)
        if reason:
            self._job.set_attribute("seedbed.job.error", reason)
        if outcome == "FAILED":
            self._job.set_status(Status(StatusCode.ERROR, reason))
        self._job.end()


def _resource() -> Resource:
    """The operator's own name for the service goes first."""
    named = Resource.create().attributes.get(SERVICE_NAME, "")
    ours: dict[str, str | int] = {SERVICE_VERSION: __version__, "process.pid": os.getpid()}
    if str(named).startswith("unknown_service"):
        ours[SERVICE_NAME] = "seedbed"
    return Resource.create(ours)


def _nanoseconds(time: datetime) -> int:
    return round(time.timestamp() * 1e6) * 1000
