"""JobService, with real jobs in real worker processes."""

from __future__ import annotations

from seedbed.v1 import jobs_pb2
from tests.api.harness import Harness


def test_a_job_runs_from_queue_to_model(service: Harness, dataset: str) -> None:
    job = service.job(dataset, trials=3)
    assert job.state == jobs_pb2.Job.QUEUED
    assert (job.target, job.metric) == ("b", "accuracy")
    events = service.events(job.name)
    assert [e.sequence for e in events] == list(range(1, len(events) + 1))
    states = [e.state_changed.state for e in events if e.HasField("state_changed")]
    names = [jobs_pb2.Job.State.Name(s) for s in states]
    assert names == ["QUEUED", "PREPARING", "SEARCHING", "FINISHING", "SUCCEEDED"]
