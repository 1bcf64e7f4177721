"""What the rows of a job say about how it went."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from seedbed_server.jobs.insights import KINDS, TimeSpent, learning_curve, time_spent
from seedbed_server.jobs.session import JobSession
from seedbed_server.jobs.values import (
    BestChanged,
    Consumption,
    Event,
    EventBody,
    Job,
    JobState,
    Score,
    StateChanged,
    Trial,
    TrialFinished,
    TrialStarted,
    TrialState,
)
from seedbed_server.store import Store
from tests.store.values import a_job, with_job

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def events(*story: tuple[float, EventBody]) -> list[Event]:
    return [Event(number, at(time), body) for number, (time, body) in enumerate(story, start=1)]


def state(name: str, seconds: float | None) -> StateChanged:
    return StateChanged(JobState(name), seconds=seconds)


def begun(trial: int) -> TrialStarted:
    return TrialStarted(trial, "line", {})


def done(trial: int, how: TrialState = TrialState.COMPLETE) -> TrialFinished:
    return TrialFinished(trial, how, 0.5)


def searching(since: float, used: Consumption) -> Job:
    return a_job(state=JobState.SEARCHING, state_time=at(since), consumption=used)


def test_the_time_of_a_job_in_one_go() -> None:
    story = events(
        (0, state("QUEUED", 0.0)),
        (3, state("PREPARING", 0.0)),
        (5, state("SEARCHING", 2.0)),
        (5.5, begun(0)),
        (7.5, done(0)),
        (8, begun(1)),
        (11, done(1)),
        (12, state("FINISHING", 9.0)),
        (13, state("SUCCEEDED", 10.0)),
    )
    used = Consumption(preparing_seconds=2.0, searching_seconds=7.0, finishing_seconds=1.0)
    job = a_job(state=JobState.SUCCEEDED, state_time=at(13), consumption=used)
    assert time_spent(job, story, at(1000)) == TimeSpent(2.0, 5.0, 2.0, 1.0, 3.0)


def test_the_trial_that_runs_counts_up_to_now() -> None:
    story = events(
        (0, state("QUEUED", 0.0)),
        (0, state("PREPARING", 0.0)),
        (1, state("SEARCHING", 1.0)),
        (2, begun(0)),
        (4, done(0)),
        (5, begun(1)),
    )
    job = searching(1, Consumption(preparing_seconds=1.0))
    assert time_spent(job, story, at(8)) == TimeSpent(1.0, 5.0, 2.0, 0.0, 0.0)


def test_the_time_in_which_no_server_ran_is_nobodys() -> None:
    """The server was lost 4 s into the trial and came back an hour later; then it waited 2 s."""
    story = events(
        (0, state("QUEUED", 0.0)),
        (0, state("PREPARING", 0.0)),
        (1, state("SEARCHING", 1.0)),
        (2, begun(0)),
        (3600, done(0, TrialState.FAILED)),
        (3600, state("QUEUED", 6.0)),
        (3602, state("PREPARING", 6.0)),
        (3603, state("SEARCHING", 7.0)),
        (3603, begun(1)),
        (3606, done(1)),
    )
    job = searching(3603, Consumption(preparing_seconds=2.0, searching_seconds=5.0))
    spent = time_spent(job, story, at(3607))
    assert spent == TimeSpent(2.0, 4.0 + 3.0, 1.0 + 1.0, 0.0, 2.0)


def test_a_job_that_waits_has_used_nothing() -> None:
    job = a_job()
    assert time_spent(job, events((0, state("QUEUED", 0.0))), at(7)) == TimeSpent(0, 0, 0, 0, 7.0)
    assert learning_curve([]) == []


def test_rows_without_the_clock_do_without_the_curve() -> None:
    """Of a server before it was written down: the phases are taken to have no gaps."""
    story = events(
        (0, state("QUEUED", None)),
        (1, state("PREPARING", None)),
        (2, state("SEARCHING", None)),
        (3, begun(0)),
        (6, done(0)),
        (6, BestChanged(0, "line", 0.5)),
    )
    assert learning_curve(story) == []
    job = searching(2, Consumption(preparing_seconds=1.0))
    assert time_spent(job, story, at(7)) == TimeSpent(1.0, 3.0, 2.0, 0.0, 1.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/s.db")
    store.migrate()
    yield store
    store.close()


def test_the_store_writes_the_clock_down(store: Store) -> None:
    with_job(store)
    leased = store.jobs.lease()
    assert leased is not None
    with store.jobs.writing("job1", attempt=1) as writer:
        writer.set_state(JobState.SEARCHING)
        writer.put_trial(Trial(0, "line", {}))
        writer.append(TrialStarted(0, "line", {}))
    store.jobs.requeue_active("the server was stopped during the trial")
    again = store.jobs.lease()
    assert again is not None
    written = store.events.of_kinds("job1", KINDS)
    clock = [event.body.seconds for event in written if isinstance(event.body, StateChanged)]
    assert clock == sorted(clock, key=lambda seconds: seconds or 0.0)
    assert [type(event.body) for event in written] == [
        *([StateChanged] * 3),
        TrialStarted,
        TrialFinished,
        *([StateChanged] * 2),
    ]
    assert clock[-1] == again.consumption.seconds
    now = again.state_time
    assert now is not None
    spent = time_spent(again, written, now)
    # The server was lost with the last thing that it wrote, the start of the trial.
    assert spent.training == 0.0
    assert spent.preparing + spent.choosing == pytest.approx(again.consumption.seconds)


def test_the_best_comes_with_what_was_used(store: Store) -> None:
    with_job(store)
    assert store.jobs.lease() is not None
    session = JobSession(store, "job1", 1)
    session.set_state(JobState.SEARCHING)
    for number, score in enumerate((0.5, 0.7)):
        trial = Trial(number, "line", {}, samples=50)
        session.start_trial(trial)
        trial = replace(trial, state=TrialState.COMPLETE, validation_score=score)
        session.finish_trial(trial, samples_total=50 * (number + 1))
        session.set_best(BestChanged(number, "line", score), Score("accuracy", score, 9))
    curve = learning_curve(store.events.of_kinds("job1", KINDS))
    assert [(p.trial, p.validation_score, p.trials, p.samples) for p in curve] == [
        (0, 0.5, 1, 50),
        (1, 0.7, 2, 100),
    ]
    first, second = (point.seconds for point in curve)
    assert first is not None and second is not None
    assert 0 <= first <= second <= store.jobs.get("job1").used(datetime.now(UTC)).seconds
