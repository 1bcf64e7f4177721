"""Metrics for Prometheus, or none: then nothing is imported, counted and listened to."""

from __future__ import annotations

from seedbed_server.jobs.values import Job
from seedbed_server.telemetry.readings import Readings


class Metrics:
    """What the API process counts as it goes. This one counts nothing."""

    def call_began(self) -> None:
        """A call of the API has come."""

    def call_ended(self, method: str, code: str, seconds: float) -> None:
        """`method` is such as `seedbed.v1.JobService/GetJob`, one that is served; `code` the name
        of the gRPC status."""

    def received(self, count: int) -> None:
        """So many bytes of an upload have come."""

    def uploaded(self) -> None:
        """An upload is whole."""

    def predicted(self, examples: int, seconds: float) -> None:
        """A model has answered for so many examples."""

    def leased(self, job: Job) -> None:
        """A job has been given to a worker."""

    def changed(self, job_id: str) -> None:
        """A job has new events."""

    def serve(self, host: str, port: int, readings: Readings) -> str:  # noqa: ARG002
        """Begins to answer scrapes; returns the address. Raises StartupError where it cannot be
        had."""
        return ""

    def close(self) -> None:
        """Answers no more."""


def make_metrics(address: str) -> Metrics:
    """Those that are served at an address; none where it is empty."""
    if not address:
        return Metrics()
    from seedbed_server.telemetry.prometheus import Prometheus

    return Prometheus()
