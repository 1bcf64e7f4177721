"""Jobs, trials and events as rows."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from seedbed_sdk.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from seedbed_server.errors import LeaseLost
from seedbed_server.jobs.values import (
    BestChanged,
    Budget,
    Consumption,
    EpochFinished,
    EventBody,
    Finding,
    JobState,
    Log,
    Progress,
    StateChanged,
    StopReason,
    Trial,
    TrialFinished,
    TrialStarted,
    TrialState,
)
from seedbed_server.store import JobFilter, PageRequest, RequestKey, Store
from tests.store.values import a_dataset, a_job, with_job


def test_a_job_comes_back_as_it_was(store: Store) -> None:
    job = with_job(store)
    wanted = a_job(create_time=job.create_time, update_time=job.update_time, last_sequence=1)
    assert store.jobs.get("job1") == job == wanted


def test_an_id_is_taken_once_and_a_dataset_must_be_there(store: Store) -> None:
    with_job(store)
    with pytest.raises(AlreadyExists, match="there is a job 'job1' already"):
        store.jobs.create(a_job())
    with pytest.raises(NotFound, match="dataset 'none' was deleted meanwhile"):
        store.jobs.create(a_job("job2", dataset="none"))
    with pytest.raises(NotFound, match="there is no job 'job2'"):
        store.jobs.get("job2")


def test_a_request_is_answered_once(store: Store) -> None:
    store.datasets.create(a_dataset())
    key = RequestKey("default", "1", "CreateJob", "digest")
    assert store.jobs.answered(key) is None
    first = store.jobs.create(a_job("job1"), key)
    assert store.jobs.create(a_job("job2"), key) == first == store.jobs.answered(key)
    with pytest.raises(AlreadyExists, match=r"was used for another CreateJob .* 'job1'"):
        store.jobs.create(a_job("job3"), replace(key, digest="other"))
    # Another project's requests are its own.
    assert store.jobs.create(a_job("job4"), replace(key, project="p")).id == "job4"


BODIES: tuple[EventBody, ...] = (
    StateChanged(JobState.SUCCEEDED, None, StopReason.USER, "m1"),
    StateChanged(JobState.FAILED, {"code": "INTERNAL", "message": "m"}),
    Progress(0.5, 3.0, "training"),
    TrialStarted(0, "line", {"learning_rate": 0.1}),
    EpochFinished(0, 1, 2, 0.5, 10, 0.7),
    TrialFinished(0, TrialState.PRUNED, 0.5, "others were better"),
    BestChanged(0, "line", 0.5),
    Finding("INFO", "kind", "message", "subject", "suggestion"),
    Log("WARNING", "text"),
)


def test_every_kind_of_event_comes_back_as_it_was(store: Store) -> None:
    with_job(store)
    with store.jobs.writing("job1") as writer:
        writer.append(*BODIES)
    events = store.events.after("job1", 1, 100)
    assert tuple(e.body for e in events) == BODIES
    assert [e.sequence for e in events] == list(range(2, 2 + len(BODIES)))
    assert [e.sequence for e in store.events.after("job1", 3, 2)] == [4, 5]


def test_jobs_are_leased_the_oldest_first(store: Store) -> None:
    first = with_job(store, "job1")
    with_job(store, "job0", create_time=first.create_time + timedelta(seconds=1))
    leased = store.jobs.lease()
    assert leased is not None
    assert (leased.id, leased.attempt, leased.state) == ("job1", 1, JobState.PREPARING)
    assert leased == store.jobs.get("job1")
    second = store.jobs.lease()
    assert second is not None and second.id == "job0"
    assert store.jobs.lease() is None


def test_a_lease_that_was_lost_cannot_write(store: Store) -> None:
    with_job(store)
    assert store.jobs.lease() is not None
    store.jobs.requeue_active("gone")
    with pytest.raises(LeaseLost, match="no longer held by attempt 1: attempt 2 does"):
        _write(store, attempt=1)
    store.jobs.cancel("job1")
    with pytest.raises(LeaseLost, match="the job is CANCELLED"):
        _write(store, attempt=3)
    assert not [e for e in store.events.after("job1", 0, 99) if isinstance(e.body, Log)]


def _write(store: Store, attempt: int) -> None:
    with store.jobs.writing("job1", attempt=attempt) as writer:
        writer.log("INFO", "too late")


def test_requeued_jobs_keep_their_start_and_end_their_running_trials(store: Store) -> None:
    with_job(store)
    leased = store.jobs.lease()
    assert leased is not None
    with store.jobs.writing("job1", attempt=1) as writer:
        writer.put_trial(Trial(0, "line", {}, TrialState.COMPLETE, validation_score=0.5))
        writer.put_trial(Trial(1, "line", {}))
    assert store.jobs.requeue_active("the server was stopped during the trial") == ["job1"]
    states = [(t.state, t.reason) for t in store.trials.list("job1")]
    assert states == [
        (TrialState.COMPLETE, ""),
        (TrialState.FAILED, "the server was stopped during the trial"),
    ]
    again = store.jobs.lease()
    assert again is not None
    assert (again.attempt, again.start_time) == (3, leased.start_time)
    assert again.consumption == Consumption(trials=1)


def test_three_deaths_in_a_row_fail_the_job(store: Store) -> None:
    with_job(store)
    for death in (1, 2):
        leased = store.jobs.lease()
        assert leased is not None
        after = store.jobs.worker_died("job1", leased.attempt, "killed by signal 9")
        assert after is not None
        assert (after.state, after.deaths) == (JobState.QUEUED, death)
    leased = store.jobs.lease()
    assert leased is not None
    assert store.jobs.worker_died("job1", leased.attempt - 1, "an earlier one") is None
    after = store.jobs.worker_died("job1", leased.attempt, "killed by signal 9")
    assert after is not None and after.error is not None
    assert after.state is JobState.FAILED
    assert after.error["reason"] == "WORKER_DIED"
    assert after.end_time is not None
    assert store.jobs.worker_died("job1", after.attempt, "again") is None
    assert store.jobs.worker_died("none", 1, "again") is None


def test_deaths_in_the_midst_of_trials_are_for_the_search_to_judge(store: Store) -> None:
    with_job(store)
    for number in range(20):
        leased = store.jobs.lease()
        assert leased is not None
        with store.jobs.writing("job1", attempt=leased.attempt) as writer:
            writer.put_trial(Trial(number, "net", {}))
        said = "out of memory: the system ended the worker process" if number == 1 else ""
        after = store.jobs.worker_died("job1", leased.attempt, "killed by signal 9", said)
        assert after is not None
        assert after.state is (JobState.QUEUED if number < 19 else JobState.FAILED)
    trials = store.trials.list("job1")
    assert trials[0].reason == "worker process died: killed by signal 9"
    assert trials[1].reason == "out of memory: the system ended the worker process"
    assert {trial.state for trial in trials} == {TrialState.FAILED}
    assert not store.trials.any_running("job1")


def test_stopping_a_job_that_has_trials_lets_it_finish(store: Store) -> None:
    with_job(store)
    assert store.jobs.request_stop("job1").state is JobState.CANCELLED
    with_job(store, "job2", consumption=Consumption(trials=1))
    stopped = store.jobs.request_stop("job2")
    assert (stopped.state, stopped.stop_requested) == (JobState.QUEUED, True)


def test_an_unfinished_job_is_not_deleted_nor_its_dataset(store: Store) -> None:
    with_job(store)
    with pytest.raises(FailedPrecondition, match="is QUEUED and cannot be deleted"):
        store.jobs.delete("job1")
    with pytest.raises(FailedPrecondition, match="is used by the unfinished job job1"):
        store.datasets.delete("data")
    store.jobs.cancel("job1")
    store.datasets.delete("data")
    store.jobs.delete("job1")
    assert store.events.after("job1", 0, 9) == []
    with pytest.raises(NotFound):
        store.jobs.delete("job1")


def test_pages_hold_every_job_once_while_jobs_are_added(store: Store) -> None:
    same_time = with_job(store, "job0").create_time
    for number in range(1, 7):
        with_job(store, f"job{number}", create_time=same_time)
    seen: list[str] = []
    page = store.jobs.list("default", JobFilter(), PageRequest(size=3))
    seen += [job.id for job in page.items]
    with_job(store, "new")
    while page.next_token:
        page = store.jobs.list("default", JobFilter(), PageRequest(3, page.next_token))
        seen += [job.id for job in page.items]
    assert seen == [f"job{number}" for number in range(6, -1, -1)]
    assert store.jobs.list("other", JobFilter(), PageRequest()).items == ()


def test_a_token_is_bound_to_its_query(store: Store) -> None:
    for number in range(3):
        with_job(store, f"job{number}")
    token = store.jobs.list("default", JobFilter(), PageRequest(size=1)).next_token
    assert re.fullmatch(r"[\w-]+", token)
    for which, bad in (
        (JobFilter(task="tiny"), token),
        (JobFilter(), token[:-2]),
        (JobFilter(), "WyIiXQ"),
        (JobFilter(), "ÿ"),
    ):
        with pytest.raises(InvalidArgument) as raised:
            store.jobs.list("default", which, PageRequest(1, bad))
        assert raised.value.violations[0].field == "page_token"


def test_trials_are_ranked_with_the_unscored_and_the_failed_last(store: Store) -> None:
    with_job(store)
    rows = (
        Trial(0, "line", {}, TrialState.COMPLETE, validation_score=0.5),
        Trial(1, "line", {}, TrialState.RUNNING),
        Trial(2, "line", {}, TrialState.FAILED, validation_score=0.9),
        Trial(3, "line", {}, TrialState.PRUNED, validation_score=0.7),
        Trial(4, "line", {}, TrialState.COMPLETE, validation_score=0.5),
    )
    with store.jobs.writing("job1") as writer:
        for trial in rows:
            writer.put_trial(trial)

    def numbers(higher: bool) -> list[int]:
        page = store.trials.page("job1", "validation_score", higher, PageRequest())
        return [trial.number for trial in page.items]

    assert numbers(True) == [3, 0, 4, 1, 2]
    assert numbers(False) == [0, 4, 3, 1, 2]


def test_the_seconds_of_each_phase_are_counted_and_not_those_of_a_queue(store: Store) -> None:
    with_job(store)
    for state in (JobState.SEARCHING, JobState.QUEUED, JobState.FINISHING, JobState.SUCCEEDED):
        if state is JobState.SEARCHING:
            store.jobs.lease()
        with store.jobs.writing("job1") as writer:
            assert writer.job.state_time is not None
            writer.change(state_time=writer.job.state_time - timedelta(seconds=10))
            writer.set_state(state)
    used = store.jobs.get("job1").consumption
    assert used.preparing_seconds == pytest.approx(10, abs=1)
    assert used.searching_seconds == pytest.approx(10, abs=1)
    assert used.finishing_seconds == pytest.approx(10, abs=1)
    assert used.seconds == pytest.approx(30, abs=3)


def test_the_time_after_a_server_died_does_not_count(store: Store) -> None:
    with_job(store)
    job = store.jobs.lease()
    assert job is not None and job.state_time is not None
    with store.jobs.writing("job1") as writer:
        writer.change(state_time=job.state_time - timedelta(hours=2))
    with store.jobs.writing("job1") as writer:
        writer.change(display_name="the last that was heard of it")
        writer.time = job.state_time - timedelta(hours=1)
    store.jobs.requeue_active("the server was stopped")
    assert store.jobs.get("job1").consumption.seconds == pytest.approx(3600, abs=10)


def test_an_extended_job_goes_back_in_the_queue(store: Store) -> None:
    with_job(store)
    leased = store.jobs.lease()
    assert leased is not None
    with store.jobs.writing("job1") as writer:
        writer.set_state(JobState.SUCCEEDED, stop_reason=StopReason.TRIAL_BUDGET, model="m1")
    job = store.jobs.extend("job1", Budget(wall_clock_seconds=30.0))
    assert job == store.jobs.get("job1")
    assert (job.state, job.stop_reason, job.end_time) == (JobState.QUEUED, None, None)
    assert (job.model, job.attempt) == ("m1", leased.attempt + 1)
    assert job.budget == Budget(wall_clock_seconds=90.0, trials=3)
    with pytest.raises(LeaseLost), store.jobs.writing("job1", attempt=leased.attempt):
        pass
    with pytest.raises(FailedPrecondition, match="is QUEUED"):
        store.jobs.extend("job1", Budget(trials=1))
    again = store.jobs.lease()
    assert again is not None
    assert again.start_time == leased.start_time
