"""When a worker is ended, by the clock and by what its job's row says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from seedbed_server.executors.overdue import silence_limit, why_overdue
from seedbed_server.jobs.values import Budget, Consumption, Job, JobState, Score

START = datetime(2030, 1, 1, tzinfo=UTC)
SEARCHING = Job(
    id="job",
    project="default",
    task="tabular",
    dataset="data",
    budget=Budget(wall_clock_seconds=100.0),
    create_time=START,
    update_time=START,
    state=JobState.SEARCHING,
    state_time=START,
    consumption=Consumption(preparing_seconds=10.0),
)
WITH_MODEL = replace(SEARCHING, validation_score=Score("accuracy", 0.5, 10))


def why(job: Job, after: float, heard: float, stopped_for: float | None = None) -> str:
    """Asked `after` seconds of searching, the last sign of life having come at `heard`."""
    job = replace(job, update_time=START + timedelta(seconds=heard))
    return why_overdue(job, START + timedelta(seconds=after), stopped_for)


def test_a_trial_has_a_grace_after_the_end_of_the_budget() -> None:
    assert why(WITH_MODEL, 94.0, 94.0) == ""
    # Also where it is alive and does not listen.
    assert why(WITH_MODEL, 96.0, 96.0) == "it had not stopped 6 s after the time was up"


def test_a_trial_that_is_silent_for_long_is_ended_before() -> None:
    assert why(WITH_MODEL, 80.0, 21.0) == ""
    assert why(WITH_MODEL, 80.0, 19.0) == "nothing was heard of it for 61 s"
    longer = replace(WITH_MODEL, budget=Budget(wall_clock_seconds=1000.0))
    assert why(longer, 300.0, 60.0) == ""
    assert why(longer, 300.0, 40.0) == "nothing was heard of it for 260 s"


def test_what_may_become_the_only_model_is_given_more_time() -> None:
    assert why(SEARCHING, 200.0, 100.0) == ""
    assert why(SEARCHING, 300.0, 179.0) == "nothing was heard of it for 121 s"
    assert why(SEARCHING, 3000.0, 2990.0) == ""


def test_a_search_that_was_stopped_ends_within_seconds() -> None:
    endless = replace(WITH_MODEL, budget=Budget(trials=5))
    assert why(endless, 5000.0, 0.0) == ""
    assert why(endless, 5000.0, 5000.0, stopped_for=2.0) == ""
    assert why(endless, 5000.0, 5000.0, stopped_for=4.0) == (
        "it had not stopped 4 s after it was asked to"
    )
    assert why(SEARCHING, 20.0, 20.0, stopped_for=9.0)


def test_without_a_budget_of_time_a_trial_may_be_silent_as_long_as_the_others_took() -> None:
    assert silence_limit(900.0, longest_trial=0.0) == 900.0
    assert silence_limit(900.0, longest_trial=100.0) == 900.0
    assert silence_limit(900.0, longest_trial=1000.0) == 3000.0
    for endless in (WITH_MODEL, SEARCHING):
        job = replace(endless, budget=Budget(samples=5), update_time=START)
        assert why_overdue(job, START + timedelta(seconds=899), None, 900.0) == ""
        assert why_overdue(job, START + timedelta(seconds=901), None, 900.0) == (
            "nothing was heard of it for 901 s"
        )
    # With such a budget its own share counts.
    assert why_overdue(WITH_MODEL, START + timedelta(seconds=61), None, 900.0)


@pytest.mark.parametrize("state", [JobState.PREPARING, JobState.FINISHING, JobState.QUEUED])
def test_other_phases_take_what_they_take(state: JobState) -> None:
    assert why(replace(WITH_MODEL, state=state), 900.0, 0.0, stopped_for=900.0) == ""
