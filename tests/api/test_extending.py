"""ExtendJob and ReplayJob: what is asked for, and what is refused."""

from __future__ import annotations

import uuid
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from seedbed.v1 import datasets_pb2, jobs_pb2, models_pb2
from tests.api.harness import Harness, refused

Budget = jobs_pb2.Budget


def extend(name: str, **limits: object) -> jobs_pb2.ExtendJobRequest:
    return jobs_pb2.ExtendJobRequest(name=name, budget=Budget(**limits))  # type: ignore[arg-type]


def get(service: Harness, name: str) -> jobs_pb2.Job:
    return service.jobs.GetJob(jobs_pb2.GetJobRequest(name=name))


def test_an_ended_job_goes_on_with_more_budget(service: Harness, dataset: str) -> None:
    first = service.finished(dataset, trials=2)
    again = service.jobs.ExtendJob(extend(first.name, trials=3))
    assert again.state == jobs_pb2.Job.QUEUED
    assert again.budget.trials == 5
    assert not again.HasField("end_time") and not again.stop_reason
    assert again.model == first.model
    since = service.events(first.name, first.last_sequence)
    assert since[0].sequence == first.last_sequence + 1
    assert since[0].state_changed.state == jobs_pb2.Job.QUEUED
    assert [e.trial_started.trial for e in since if e.HasField("trial_started")] == [2, 3, 4]
    done = get(service, first.name)
    assert (done.state, done.consumption.trials) == (jobs_pb2.Job.SUCCEEDED, 5)
    assert done.model != first.model
    service.models.GetModel(models_pb2.GetModelRequest(name=first.model))
    used = done.consumption
    phases = (used.preparing, used.searching, used.finishing)
    whole = sum(phase.ToTimedelta().total_seconds() for phase in phases)
    assert used.wall_clock.ToTimedelta().total_seconds() == pytest.approx(whole, abs=1e-3)
    assert whole > first.consumption.wall_clock.ToTimedelta().total_seconds()


def test_a_watch_from_the_start_goes_beyond_the_first_end(service: Harness, dataset: str) -> None:
    job = service.finished(dataset)
    service.jobs.ExtendJob(extend(job.name, trials=1))
    events = service.events(job.name)
    assert [e.sequence for e in events] == list(range(1, get(service, job.name).last_sequence + 1))
    ends = [e for e in events if e.state_changed.state == jobs_pb2.Job.SUCCEEDED]
    assert len(ends) == 2
    assert ends[-1] is events[-1]


def test_limits_that_were_reached_give_way_and_others_stay(service: Harness, dataset: str) -> None:
    job = service.finished(dataset, trials=2)
    again = service.jobs.ExtendJob(
        extend(job.name, wall_clock=Duration(seconds=60), samples=1000, target_score=0.9)
    )
    assert not again.budget.HasField("trials")
    assert again.budget.samples == 200 + 1000
    assert again.budget.target_score == 0.9
    assert 60 < again.budget.wall_clock.ToTimedelta().total_seconds() < 90
    service.events(job.name)
    again = service.jobs.ExtendJob(extend(job.name, trials=1))
    assert again.budget.samples == 1200
    service.events(job.name)


def test_an_extension_needs_a_limit_above_nothing(service: Harness, dataset: str) -> None:
    name = service.finished(dataset).name
    error = refused(service.jobs.ExtendJob, jobs_pb2.ExtendJobRequest(name=name))
    assert error.code == grpc.StatusCode.INVALID_ARGUMENT
    assert error.violations == {
        "budget": "sets no limit; give at least one of wall_clock, trials, samples and target_score"
    }
    bad = extend(name, wall_clock=Duration(seconds=-3), trials=0, samples=-1)
    error = refused(service.jobs.ExtendJob, bad)
    assert error.violations == {
        "budget.wall_clock": "must be at least 5 s, got -3 s",
        "budget.trials": "must be at least 1, got 0",
        "budget.samples": "must be at least 1, got -1",
    }
    assert get(service, name).budget.trials == 1


def test_a_job_that_runs_or_was_cancelled_or_failed_is_not_extended(
    service: Harness, dataset: str
) -> None:
    name = service.job(dataset, mode="wait").name
    service.until(name, "best_changed")
    for call, request in (
        (service.jobs.ExtendJob, extend(name, trials=1)),
        (service.jobs.ReplayJob, jobs_pb2.ReplayJobRequest(name=name)),
    ):
        error = refused(call, request)
        assert error.code == grpc.StatusCode.FAILED_PRECONDITION
        assert "is SEARCHING" in error.message
    service.jobs.CancelJob(jobs_pb2.CancelJobRequest(name=name))
    for ended in (name, service.finished(dataset, mode="refuse").name):
        error = refused(service.jobs.ExtendJob, extend(ended, trials=1))
        assert (error.code, error.reason) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "JOB_NOT_EXTENDABLE",
        )
        error = refused(service.jobs.ReplayJob, jobs_pb2.ReplayJobRequest(name=ended))
        assert error.reason == "NO_MODEL"


def test_names_of_others_are_refused(service: Harness, dataset: str) -> None:
    job = service.finished(dataset)
    mine = job.name.rpartition("/")[2]
    for name, code in (
        ("nosuchjob", grpc.StatusCode.NOT_FOUND),
        (f"projects/other/jobs/{mine}", grpc.StatusCode.NOT_FOUND),
        (dataset, grpc.StatusCode.INVALID_ARGUMENT),
        ("", grpc.StatusCode.INVALID_ARGUMENT),
        ("../../etc/passwd", grpc.StatusCode.INVALID_ARGUMENT),
    ):
        assert refused(service.jobs.ExtendJob, extend(name, trials=1)).code == code
        request = jobs_pb2.ReplayJobRequest(name=name)
        assert refused(service.jobs.ReplayJob, request).code == code
    assert get(service, job.name).last_sequence == job.last_sequence


def test_a_model_without_a_recipe_cannot_be_trained_again(service: Harness, dataset: str) -> None:
    job = service.finished(dataset)
    request = jobs_pb2.ReplayJobRequest(name=job.name, request_id=str(uuid.uuid4()))
    error = refused(service.jobs.ReplayJob, request)
    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_RECIPE")
    service.models.DeleteModel(models_pb2.DeleteModelRequest(name=job.model))
    error = refused(service.jobs.ReplayJob, jobs_pb2.ReplayJobRequest(name=job.name))
    assert error.code == grpc.StatusCode.NOT_FOUND
    again = service.jobs.ExtendJob(extend(job.name, trials=1))
    assert service.events(again.name)[-1].state_changed.model not in ("", job.model)


def test_a_job_whose_dataset_was_deleted_is_not_extended(service: Harness, root: Path) -> None:
    dataset = service.dataset(root / "passing.csv")
    job = service.finished(dataset)
    service.datasets.DeleteDataset(datasets_pb2.DeleteDatasetRequest(name=dataset))
    error = refused(service.jobs.ExtendJob, extend(job.name, trials=1))
    assert error.code == grpc.StatusCode.NOT_FOUND
    assert get(service, job.name).state == jobs_pb2.Job.SUCCEEDED
