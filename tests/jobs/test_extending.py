"""What more budget makes of a job."""

from __future__ import annotations

import pytest

from seedbed_sdk.errors import FailedPrecondition, SeedbedError
from seedbed_server.jobs.extending import extended
from seedbed_server.jobs.values import Budget, Consumption, JobState, StopReason
from tests.store.values import a_job

USED = Consumption(trials=3, samples=500, searching_seconds=58.0, finishing_seconds=1.0)


def ended(budget: Budget, reason: StopReason, **fields: object) -> object:
    return a_job(
        budget=budget,
        state=JobState.SUCCEEDED,
        stop_reason=reason,
        model="m1",
        consumption=USED,
        **fields,
    )


@pytest.mark.parametrize(
    ("before", "reason", "more", "after"),
    [
        (Budget(60.0), StopReason.TIME_BUDGET, Budget(30.0), Budget(90.0)),
        (Budget(60.0, 3), StopReason.TRIAL_BUDGET, Budget(trials=2), Budget(60.0, 5)),
        (Budget(60.0, 3), StopReason.TRIAL_BUDGET, Budget(30.0), Budget(90.0)),
        (Budget(60.0, 9), StopReason.TIME_BUDGET, Budget(trials=2), Budget(None, 11)),
        (Budget(trials=3), StopReason.TRIAL_BUDGET, Budget(10.0), Budget(69.0)),
        (Budget(samples=500), StopReason.SAMPLE_BUDGET, Budget(trials=1), Budget(trials=4)),
        (Budget(60.0), StopReason.TIME_BUDGET, Budget(samples=9), Budget(samples=509)),
        (
            Budget(60.0, target_score=0.8),
            StopReason.TARGET_REACHED,
            Budget(5.0),
            Budget(65.0),
        ),
        (
            Budget(60.0, target_score=0.8),
            StopReason.TARGET_REACHED,
            Budget(target_score=0.9),
            Budget(60.0, target_score=0.9),
        ),
        (Budget(60.0, 9), StopReason.USER, Budget(trials=1), Budget(60.0, 10)),
    ],
)
def test_limits_are_added_and_those_that_were_reached_give_way(
    before: Budget, reason: StopReason, more: Budget, after: Budget
) -> None:
    assert extended(ended(before, reason), more) == after  # type: ignore[arg-type]


def test_a_job_for_which_no_trial_had_time_goes_on() -> None:
    error = SeedbedError("no trial", reason="NO_TRIAL_SUCCEEDED").to_dict()
    job = a_job(budget=Budget(5.0), state=JobState.FAILED, error=error, consumption=USED)
    assert extended(job, Budget(30.0)) == Budget(35.0)
    assert extended(job, Budget(trials=1)) == Budget(trials=4)


def test_a_job_that_failed_while_it_was_extended_goes_on() -> None:
    error = SeedbedError("gone", reason="DATASET_CHANGED").to_dict()
    job = a_job(budget=Budget(60.0), state=JobState.FAILED, error=error, consumption=USED)
    with pytest.raises(FailedPrecondition, match="is FAILED and cannot be extended"):
        extended(job, Budget(30.0))
    job = a_job(
        budget=Budget(60.0), state=JobState.FAILED, error=error, consumption=USED, model="m1"
    )
    assert extended(job, Budget(30.0)) == Budget(90.0)


@pytest.mark.parametrize("state", [s for s in JobState if not s.ended] + [JobState.CANCELLED])
def test_a_job_in_another_state_does_not(state: JobState) -> None:
    with pytest.raises(FailedPrecondition, match=f"is {state}"):
        extended(a_job(state=state, model="m1"), Budget(30.0))


def test_a_replay_has_nothing_to_go_on_with() -> None:
    job = a_job(state=JobState.SUCCEEDED, replay_of="job0")
    with pytest.raises(FailedPrecondition, match="extend job 'job0'"):
        extended(job, Budget(30.0))
