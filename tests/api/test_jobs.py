"""JobService, with real jobs in real worker processes."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path

import grpc
import psutil
import pytest
from google.protobuf.duration_pb2 import Duration

from seedbed.v1 import datasets_pb2, jobs_pb2, tasks_pb2
from tests.api.harness import Harness, refused, wanted
from tests.conftest import eventually


def create(job: jobs_pb2.Job, **fields: object) -> jobs_pb2.CreateJobRequest:
    return jobs_pb2.CreateJobRequest(job=job, **fields)  # type: ignore[arg-type]


def get(service: Harness, name: str) -> jobs_pb2.Job:
    return service.jobs.GetJob(jobs_pb2.GetJobRequest(name=name))


def trials(service: Harness, name: str, **fields: object) -> jobs_pb2.ListTrialsResponse:
    request = jobs_pb2.ListTrialsRequest(parent=name, **fields)  # type: ignore[arg-type]
    return service.jobs.ListTrials(request)


def test_a_job_runs_from_queue_to_model(service: Harness, dataset: str) -> None:
    job = service.job(dataset, trials=3)
    assert job.state == jobs_pb2.Job.QUEUED
    assert (job.target, job.metric, job.last_sequence) == ("b", "accuracy", 1)
    events = service.events(job.name)
    assert [e.sequence for e in events] == list(range(1, len(events) + 1))
    states = [e.state_changed.state for e in events if e.HasField("state_changed")]
    names = [jobs_pb2.Job.State.Name(s) for s in states]
    assert names == ["QUEUED", "PREPARING", "SEARCHING", "FINISHING", "SUCCEEDED"]
    kinds = {e.WhichOneof("event") for e in events}
    assert kinds == {
        "state_changed",
        "progress",
        "trial_started",
        "epoch_finished",
        "trial_finished",
        "best_changed",
        "finding",
    }
    done = get(service, job.name)
    assert done.model == events[-1].state_changed.model
    assert done.stop_reason == jobs_pb2.Job.TRIAL_BUDGET
    assert (done.consumption.trials, done.consumption.samples) == (3, 300)
    assert done.consumption.wall_clock.ToNanoseconds() > 0
    assert (done.test_score.value, done.test_score.lower) == (0.75, 0.7)
    assert done.findings[0].kind == "constant_column"
    assert done.progress.fraction == 1.0
    assert done.last_sequence == len(events)


def test_trials_come_the_best_first_in_the_metric_s_direction(
    service: Harness, dataset: str
) -> None:
    job = service.finished(dataset, trials=3)
    assert [t.number for t in trials(service, job.name).trials] == [2, 1, 0]
    assert [t.number for t in trials(service, job.name, order_by="number").trials] == [0, 1, 2]
    first = trials(service, job.name, page_size=2)
    rest = trials(service, job.name, page_size=2, page_token=first.next_page_token)
    assert [t.number for t in rest.trials] == [0]
    assert rest.trials[0].name == f"{job.name}/trials/0"
    assert rest.trials[0].baseline and rest.trials[0].epochs == 2
    assert not rest.next_page_token

    lower = wanted(dataset, trials=2)
    lower.metric = "log_loss"
    name = service.jobs.CreateJob(create(lower)).name
    service.events(name)
    assert [t.number for t in trials(service, name).trials] == [0, 1]

    error = refused(
        service.jobs.ListTrials,
        jobs_pb2.ListTrialsRequest(parent=job.name, order_by="seconds"),
    )
    assert error.violations["order_by"] == (
        "trials cannot be ordered by 'seconds', but by validation_score or number"
    )


def test_everything_wrong_with_a_job_is_said_at_once(service: Harness) -> None:
    job = wanted("", trials=0, mod="ok", valid_fraction=2, keep="yes", limit="x")
    job.task = "tinny"
    job.seed = -1
    job.budget.wall_clock.CopyFrom(Duration(seconds=-3))
    job.budget.samples = 0
    error = refused(service.jobs.CreateJob, create(job, job_id="No"))
    assert error.code == grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == "INVALID_FIELD"
    assert error.violations == {
        "job.task": "there is no task 'tinny'; there are: small, tiny; did you mean 'tiny'?",
        "job.dataset": "is required; give a name such as projects/default/datasets/ID, "
        "or the short id",
        "job.budget.wall_clock": "must be at least 5 s, got -3 s",
        "job.budget.trials": "must be at least 1, got 0",
        "job.budget.samples": "must be at least 1, got 0",
        "job.seed": "must be from 0 to 2^53, got -1",
        "job_id": "'No' will not do: 4 to 63 of a-z, 0-9 and '-', starting with a letter",
    }
    for description in error.violations.values():
        assert description in error.message


def test_options_metric_and_space_are_checked_against_the_task(
    service: Harness, dataset: str
) -> None:
    job = wanted(dataset, mod="ok", valid_fraction=2, keep="yes", limit="x")
    job.metric = "acuracy"
    ranges = tasks_pb2.Domain.FloatRange
    job.search_space["learning_rate"].float_range.CopyFrom(ranges(low=1e-3, high=50))
    job.search_space["epoch"].int_range.CopyFrom(tasks_pb2.Domain.IntRange(low=1, high=2))
    job.search_space["epochs"].int_range.CopyFrom(tasks_pb2.Domain.IntRange(low=9, high=2))
    job.search_space["layers"].SetInParent()
    job.search_space["architecture"].choices.values.add(string_value="nett")
    error = refused(service.jobs.CreateJob, create(job))
    assert error.violations == {
        "job.metric": "task 'tiny' has no metric 'acuracy'; it has: accuracy, log_loss; "
        "did you mean 'accuracy'?",
        "job.options.mod": "task 'tiny' has no such option; it has: epochs, keep, limit, mode, "
        "valid_fraction; did you mean 'mode'?",
        "job.options.valid_fraction": "got 2; it must be below 1",
        "job.options.keep": "got 'yes'; it must be of type boolean",
        "job.options.limit": "got 'x'; it must be of type integer or it must be of type null",
        'job.search_space["learning_rate"]': "0.001..50 is not inside 0.0001..0.1 or 0.001..1",
        'job.search_space["epoch"]': "task 'tiny' has no such hyperparameter; it has: "
        "architecture, bias, epochs, layers, learning_rate; did you mean 'epochs'?",
        'job.search_space["epochs"]': "is empty: low 9 is above high 2",
        'job.search_space["layers"]': "is empty; set float_range, int_range or choices",
        'job.search_space["architecture"]': "there is no 'nett'; there are: line, net; "
        "did you mean 'net'?",
    }


def test_a_job_needs_a_limit_a_dataset_that_is_there_and_its_column(
    service: Harness, dataset: str
) -> None:
    job = wanted(dataset)
    job.ClearField("budget")
    error = refused(service.jobs.CreateJob, create(job))
    assert error.violations == {
        "job.budget": "sets no limit; give at least one of wall_clock, trials, samples and "
        "target_score"
    }
    error = refused(service.jobs.CreateJob, create(wanted("nothere")))
    assert error.violations == {
        "job.dataset": "there is no dataset 'nothere' in project 'default'; create it first"
    }
    job = wanted(dataset)
    job.target = "missing"
    error = refused(service.jobs.CreateJob, create(job))
    assert error.violations == {"job.target": "there is no column 'missing'; there are: a, b"}
    error = refused(service.jobs.CreateJob, create(wanted("projects/default/jobs/abcd")))
    assert error.violations == {
        "job.dataset": "'projects/default/jobs/abcd' names one of 'jobs'; "
        "it takes one of 'datasets'"
    }


def test_a_dataset_that_vanished_is_named(service: Harness, root: Path) -> None:
    dataset = service.dataset(root / "gone.csv")
    (root / "gone.csv").unlink()
    error = refused(service.jobs.CreateJob, create(wanted(dataset)))
    assert error.violations == {"job.dataset": f"{root / 'gone.csv'} does not exist"}


def test_checking_a_job_creates_none(service: Harness, dataset: str) -> None:
    request = create(wanted(dataset), job_id="only-checked", validate_only=True)
    job = service.jobs.CreateJob(request)
    assert job.name == "projects/default/jobs/only-checked"
    assert job.metric == "accuracy"
    error = refused(service.jobs.GetJob, jobs_pb2.GetJobRequest(name=job.name))
    assert error.code == grpc.StatusCode.NOT_FOUND
    assert error.message == "there is no job 'only-checked'"


def test_the_same_request_id_creates_one_job(service: Harness, dataset: str) -> None:
    request_id = str(uuid.uuid4())
    first = service.jobs.CreateJob(create(wanted(dataset), request_id=request_id))
    again = service.jobs.CreateJob(create(wanted(dataset), request_id=request_id.upper()))
    assert first.name == again.name
    error = refused(service.jobs.CreateJob, create(wanted(dataset, 2), request_id=request_id))
    assert error.code == grpc.StatusCode.ALREADY_EXISTS
    assert error.reason == "REQUEST_ID_REUSED"
    error = refused(service.jobs.CreateJob, create(wanted(dataset), request_id="7"))
    assert error.violations["request_id"].startswith("'7' is not a UUID")


def test_ids_may_be_chosen_once_and_are_short_or_full(service: Harness, dataset: str) -> None:
    job = service.jobs.CreateJob(create(wanted(dataset), job_id="my-job-1"))
    for name in ("my-job-1", "jobs/my-job-1", "projects/default/jobs/my-job-1"):
        assert get(service, name).name == job.name
    error = refused(service.jobs.CreateJob, create(wanted(dataset), job_id="my-job-1"))
    assert error.code == grpc.StatusCode.ALREADY_EXISTS
    assert error.message == "there is a job 'my-job-1' already; choose another job_id"
    error = refused(service.jobs.GetJob, jobs_pb2.GetJobRequest(name="projects/p/jobs/my-job-1"))
    assert error.code == grpc.StatusCode.NOT_FOUND


def test_numbers_in_options_and_space_keep_their_kind(service: Harness, dataset: str) -> None:
    job = wanted(dataset, epochs=3)
    job.search_space["layers"].choices.values.add(number_value=2)
    job.search_space["bias"].choices.values.add(bool_value=True)
    job.search_space["epochs"].choices.values.add(number_value=5)
    created = service.jobs.CreateJob(create(job))
    assert created.search_space["layers"].choices.values[0].number_value == 2
    assert created.search_space["bias"].choices.values[0].bool_value is True
    events = service.events(created.name)
    epochs = [e.epoch_finished for e in events if e.HasField("epoch_finished")]
    assert [(e.epoch, e.epochs) for e in epochs] == [(1, 3), (2, 3), (3, 3)]


def test_starting_points_are_checked_and_come_back_as_they_were(
    service: Harness, dataset: str
) -> None:
    job = wanted(dataset)
    job.ignore_earlier_jobs = True
    job.starting_points.add().update({"architecture": "net", "layers": 2, "bias": True})
    job.starting_points.add().update({"architecture": "line", "learning_rate": 0.01})
    created = service.jobs.CreateJob(create(job))
    assert created.starting_points == job.starting_points
    assert created.ignore_earlier_jobs
    assert get(service, created.name).starting_points == job.starting_points
    job.search_space["learning_rate"].choices.values.add(number_value=0.1)
    job.starting_points.add().update({"architecture": "net", "layers": 3})
    error = refused(service.jobs.CreateJob, create(job))
    assert error.code == grpc.StatusCode.INVALID_ARGUMENT
    assert error.violations == {
        "job.starting_points[1].learning_rate": "the job's search_space allows 0.1, got 0.01",
        "job.starting_points[2].layers": "must be one of 1, 2, 4, got 3",
    }


def test_lists_are_filtered_and_paged_newest_first(service: Harness, root: Path) -> None:
    dataset = service.dataset(root / "listed.csv")
    names = [service.job(dataset).name for _ in range(3)]
    for name in names:
        service.events(name)
    list_jobs = service.jobs.ListJobs
    query = f"dataset = {dataset} AND state = SUCCEEDED"
    first = list_jobs(jobs_pb2.ListJobsRequest(filter=query, page_size=2))
    assert [job.name for job in first.jobs] == names[:0:-1]
    token = first.next_page_token
    rest = list_jobs(jobs_pb2.ListJobsRequest(filter=query, page_size=2, page_token=token))
    assert [job.name for job in rest.jobs] == names[:1]
    assert not list_jobs(jobs_pb2.ListJobsRequest(filter=f'task = "small" AND {query}')).jobs

    error = refused(list_jobs, jobs_pb2.ListJobsRequest(filter="task = tiny", page_token=token))
    assert "belongs to a list with other parameters" in error.violations["page_token"]
    error = refused(list_jobs, jobs_pb2.ListJobsRequest(page_token="junk"))
    assert "'junk' is not a token of this server" in error.violations["page_token"]
    error = refused(list_jobs, jobs_pb2.ListJobsRequest(page_size=-1))
    assert error.violations == {"page_size": "must be at least 0, got -1"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("state", "cannot read 'state'"),
        ("state = DONE", "there is no state 'DONE'"),
        ("seed = 3", "jobs cannot be filtered by 'seed'"),
        ("task = a AND task = b", "'task' is compared twice"),
        ("task = a OR task = b", "cannot read"),
    ],
)
def test_a_filter_that_cannot_be_read_is_refused(service: Harness, text: str, problem: str) -> None:
    error = refused(service.jobs.ListJobs, jobs_pb2.ListJobsRequest(filter=text))
    assert problem in error.violations["filter"]
    assert "write `state = SUCCEEDED`" in error.violations["filter"]


def test_stopping_keeps_the_best_so_far(service: Harness, dataset: str) -> None:
    name = service.job(dataset, trials=99, mode="wait").name
    service.until(name, "best_changed")
    service.jobs.StopJob(jobs_pb2.StopJobRequest(name=name))
    last = service.events(name)[-1].state_changed
    assert last.state == jobs_pb2.Job.SUCCEEDED
    assert last.stop_reason == jobs_pb2.Job.USER
    assert last.model
    # Stopping what has ended changes nothing.
    assert service.jobs.StopJob(jobs_pb2.StopJobRequest(name=name)).model == last.model


def test_cancelling_frees_the_worker_and_what_it_started(service: Harness, dataset: str) -> None:
    name = service.job(dataset, mode="hang").name
    service.until(name, "log")
    pids = [int(p) for p in (service.data_dir / "cache" / "pids").read_text().split()]
    assert all(psutil.pid_exists(pid) for pid in pids)
    job = service.jobs.CancelJob(jobs_pb2.CancelJobRequest(name=name))
    assert job.state == jobs_pb2.Job.CANCELLED
    assert eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    events = service.events(name)
    assert events[-1].state_changed.state == jobs_pb2.Job.CANCELLED
    trial = trials(service, name).trials[0]
    assert trial.state == jobs_pb2.Trial.FAILED
    assert trial.reason == "the job was cancelled during the trial"
    assert service.jobs.CancelJob(jobs_pb2.CancelJobRequest(name=name)).state == job.state


def test_cancelling_what_succeeded_is_refused(service: Harness, dataset: str) -> None:
    job = service.finished(dataset)
    error = refused(service.jobs.CancelJob, jobs_pb2.CancelJobRequest(name=job.name))
    assert error.code == grpc.StatusCode.FAILED_PRECONDITION
    assert "has SUCCEEDED already" in error.message


def test_a_queued_job_is_cancelled_and_stopped_without_a_worker(
    service: Harness, dataset: str
) -> None:
    running = [service.job(dataset, mode="hang").name for _ in range(2)]
    for name in running:
        service.until(name, "log")
    queued = [service.job(dataset).name for _ in range(2)]
    assert get(service, queued[0]).state == jobs_pb2.Job.QUEUED
    cancelled = service.jobs.CancelJob(jobs_pb2.CancelJobRequest(name=queued[0]))
    stopped = service.jobs.StopJob(jobs_pb2.StopJobRequest(name=queued[1]))
    assert cancelled.state == stopped.state == jobs_pb2.Job.CANCELLED
    for name in running:
        service.jobs.CancelJob(jobs_pb2.CancelJobRequest(name=name))


def test_only_ended_jobs_are_deleted_and_their_models_stay(service: Harness, dataset: str) -> None:
    name = service.job(dataset, mode="wait").name
    error = refused(service.jobs.DeleteJob, jobs_pb2.DeleteJobRequest(name=name))
    assert error.code == grpc.StatusCode.FAILED_PRECONDITION
    assert "cancel it or wait for its end" in error.message
    delete = datasets_pb2.DeleteDatasetRequest(name=dataset)
    error = refused(service.datasets.DeleteDataset, delete)
    assert error.code == grpc.StatusCode.FAILED_PRECONDITION
    assert "is used by the unfinished job" in error.message
    service.until(name, "best_changed")
    service.jobs.StopJob(jobs_pb2.StopJobRequest(name=name))
    model = service.events(name)[-1].state_changed.model
    service.jobs.DeleteJob(jobs_pb2.DeleteJobRequest(name=name))
    error = refused(service.jobs.GetJob, jobs_pb2.GetJobRequest(name=name))
    assert error.code == grpc.StatusCode.NOT_FOUND
    error = refused(service.jobs.WatchJob, jobs_pb2.WatchJobRequest(name=name))
    assert error.code == grpc.StatusCode.NOT_FOUND
    assert (service.data_dir / "models" / model.rpartition("/")[2] / "bundle.json").exists()


def test_a_worker_that_dies_is_replaced_and_the_trials_go_on(
    service: Harness, dataset: str
) -> None:
    job = service.finished(dataset, trials=3, mode="die_once")
    assert job.state == jobs_pb2.Job.SUCCEEDED
    by_number = trials(service, job.name, order_by="number").trials
    assert [t.state for t in by_number] == [
        jobs_pb2.Trial.COMPLETE,
        jobs_pb2.Trial.FAILED,
        jobs_pb2.Trial.COMPLETE,
    ]
    assert by_number[1].reason == ("worker process died: killed by signal 9 (out of memory?)")
    logs = [e.log.message for e in service.events(job.name) if e.HasField("log")]
    assert logs == ["the worker process died: killed by signal 9 (out of memory?)"]


def test_a_job_whose_worker_dies_three_times_outside_a_trial_fails(
    service: Harness, dataset: str
) -> None:
    job = service.finished(dataset, mode="die")
    assert job.state == jobs_pb2.Job.FAILED
    assert job.error.message.startswith(
        "the worker process died 3 times in a row without a finished trial in between, "
        "the last time: killed by signal 9 (out of memory?)"
    )
    assert job.consumption.trials == 0


def test_what_a_driver_raises_fails_the_job(service: Harness, dataset: str) -> None:
    refusal = service.finished(dataset, mode="refuse")
    assert refusal.state == jobs_pb2.Job.FAILED
    assert refusal.error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    assert refusal.error.message == "the dataset changed since the job was created"
    bug = service.finished(dataset, mode="raise")
    assert bug.error.code == grpc.StatusCode.INTERNAL.value[0]
    assert bug.error.message == "internal error in the worker: ValueError: a bug"
    assert "Traceback" not in str(bug)
    assert "in run_job" in service.log.read_text()
    nothing = service.finished(dataset, mode="nothing")
    assert nothing.error.message.endswith("run_job returned without ending the job")


def test_concurrent_watchers_see_the_same_events(service: Harness, dataset: str) -> None:
    name = service.job(dataset, trials=5, mode="ok", epochs=400).name
    seen: list[list[int]] = []

    def watch(after: int) -> None:
        seen.append([after, *(e.sequence for e in service.events(name, after))])

    watchers = [threading.Thread(target=watch, args=(after,)) for after in (0, 0, 1, 0)]
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        watcher.join()
    last = get(service, name).last_sequence
    assert last > 2000
    assert len(seen) == 4
    for after, *numbers in seen:
        assert numbers == list(range(after + 1, last + 1))
