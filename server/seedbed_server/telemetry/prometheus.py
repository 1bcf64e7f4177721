"""Metrics by prometheus-client, answered over HTTP. Imported only where they are wanted.

Labels are methods, codes, states and kinds: nothing that a user could add to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from seedbed_server import __version__
from seedbed_server.errors import StartupError
from seedbed_server.jobs.values import Job, JobState, TrialState
from seedbed_server.telemetry.metrics import Metrics
from seedbed_server.telemetry.readings import Reading, Readings

log = structlog.get_logger()

CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)
QUEUE_BUCKETS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400)


class Prometheus(Metrics):
    """A registry of its own, so that what libraries register is not ours to answer for."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        to: Any = {"registry": self._registry}
        ProcessCollector(**to)
        self._requests = Counter(
            "seedbed_requests", "Calls that were answered.", ("method", "code"), **to
        )
        self._request_seconds = Histogram(
            "seedbed_request_seconds",
            "Seconds until a call's end; that of a watch is when it is left.",
            ("method",),
            buckets=CALL_BUCKETS,
            **to,
        )
        self._requests_under_way = Gauge(
            "seedbed_requests_under_way", "Calls that are being answered.", **to
        )
        self._upload_bytes = Counter(
            "seedbed_upload_bytes", "Bytes of uploads that have come.", **to
        )
        self._uploads = Counter("seedbed_uploads", "Uploads that are whole.", **to)
        self._prediction_seconds = Histogram(
            "seedbed_prediction_seconds",
            "Seconds in which a model answered a request, loading it included.",
            buckets=CALL_BUCKETS,
            **to,
        )
        self._predicted = Counter(
            "seedbed_predicted_examples", "Examples that models have answered.", **to
        )
        self._queue_seconds = Histogram(
            "seedbed_job_queue_seconds",
            "Seconds from a job's creation until a worker took it for the first time.",
            buckets=QUEUE_BUCKETS,
            **to,
        )
        Gauge("seedbed_build_info", "The version that runs.", ("version",), **to).labels(
            __version__
        ).set(1)
        self._changed: set[str] = set()
        self._server: Any = None

    def call_began(self) -> None:
        self._requests_under_way.inc()

    def call_ended(self, method: str, code: str, seconds: float) -> None:
        self._requests_under_way.dec()
        self._requests.labels(method, code).inc()
        self._request_seconds.labels(method).observe(seconds)

    def received(self, count: int) -> None:
        self._upload_bytes.inc(count)

    def uploaded(self) -> None:
        self._uploads.inc()

    def predicted(self, examples: int, seconds: float) -> None:
        self._prediction_seconds.observe(seconds)
        self._predicted.inc(examples)

    def leased(self, job: Job) -> None:
        if job.attempt == 1 and job.start_time is not None:
            self._queue_seconds.observe((job.start_time - job.create_time).total_seconds())

    def changed(self, job_id: str) -> None:
        self._changed.add(job_id)

    def take_changed(self) -> Iterator[str]:
        """The jobs with new events since the last time; from any thread."""
        while self._changed:
            yield self._changed.pop()

    def serve(self, host: str, port: int, readings: Readings) -> str:
        self._registry.register(_State(self, readings))
        try:
            self._server, _ = start_http_server(port, host, self._registry)
        except OSError as error:
            raise StartupError(
                f"cannot listen on {host}:{port} for metrics ({error.strerror}); pass another "
                "--metrics-address, such as 127.0.0.1:0 for any free port",
                reason="ADDRESS_UNAVAILABLE",
            ) from error
        shown = f"[{host}]" if ":" in host else host
        return f"{shown}:{self._server.server_port}"

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _State(Collector):
    """What is read when a scrape comes."""

    def __init__(self, metrics: Prometheus, readings: Readings) -> None:
        self._metrics = metrics
        self._readings = readings

    def collect(self) -> Iterator[Metric]:
        reading: Reading | None = None
        try:
            reading = self._readings.read(self._metrics.take_changed)
        except Exception as error:  # noqa: BLE001 - what needs no rows is answered all the same
            log.warning("metrics_not_read", why=f"{type(error).__name__}: {error}")
        yield GaugeMetricFamily(
            "seedbed_readable",
            "Whether the database could be read for this answer.",
            value=float(reading is not None),
        )
        if reading is not None:
            yield from _families(reading)


def _families(reading: Reading) -> Iterator[Metric]:
    states = {str(state): reading.jobs.get(state, 0) for state in JobState}
    yield _gauges("seedbed_jobs", "Jobs there are, by their state.", "state", states)
    yield _gauge("seedbed_queue_length", "Jobs that wait for a worker.", states["QUEUED"])
    yield _gauge(
        "seedbed_queue_oldest_seconds",
        "Seconds that the longest waiting job has waited.",
        reading.oldest_queued_seconds,
    )
    used = {kind: reading.used_slots.get(kind, 0) for kind in reading.slots}
    yield _gauges("seedbed_slots", "Jobs that can run at once.", "device", reading.slots)
    yield _gauges("seedbed_slots_used", "Jobs that are at work.", "device", used)
    yield _gauge("seedbed_watchers", "Streams that follow a job.", reading.watchers)
    yield _gauges("seedbed_disk_bytes", "Bytes in the data directory.", "kind", reading.disk)
    yield _gauge("seedbed_disk_free_bytes", "Bytes that are free there.", reading.free_bytes)
    ended = {str(s): reading.ended_jobs.get(s, 0) for s in JobState if s.ended}
    yield _counters("seedbed_jobs_ended", "Jobs that have ended.", "state", ended)
    outcomes = {s: reading.trials.get(s, 0) for s in TrialState if s is not TrialState.RUNNING}
    trials = {str(state): count for state, count in outcomes.items()}
    yield _counters("seedbed_trials", "Trials that have ended or paused.", "outcome", trials)
    yield _counters("seedbed_events", "Events that were written.", "kind", reading.events)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family


def _counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family
