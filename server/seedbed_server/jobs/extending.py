"""What more budget makes of a job that has ended."""

from __future__ import annotations

from typing import Any

from seedbed_sdk.errors import FailedPrecondition
from seedbed_server.jobs.values import Budget, Job, JobState, StopReason

NO_TRIAL_SUCCEEDED = "NO_TRIAL_SUCCEEDED"
CONSTRAINTS_NOT_MET = "CONSTRAINTS_NOT_MET"


def extended(job: Job, more: Budget) -> Budget:
    """The job's budget with `more`: added to a limit that there is, else to what was used. A limit
    that is not given stays, unless it was reached: then it is dropped, since it would end the job
    at once. Raises FailedPrecondition for a job that cannot go on."""
    _check(job)
    used, reached = job.consumption, _reached(job)

    def limit(name: str, so_far: float) -> Any:
        before, given = getattr(job.budget, name), getattr(more, name)
        if given is None:
            return None if name in reached else before
        return given + (so_far if before is None else before)

    target = None if "target_score" in reached else job.budget.target_score
    return Budget(
        wall_clock_seconds=limit("wall_clock_seconds", used.seconds),
        trials=limit("trials", used.trials),
        samples=limit("samples", used.samples),
        target_score=target if more.target_score is None else more.target_score,
    )


def _reached(job: Job) -> set[str]:
    """The fields of the budget whose limits the job has reached."""
    budget, used = job.budget, job.consumption
    found = set()
    if job.stop_reason is StopReason.TIME_BUDGET or _found_nothing(job):
        found.add("wall_clock_seconds")
    if budget.trials is not None and used.trials >= budget.trials:
        found.add("trials")
    if budget.samples is not None and used.samples >= budget.samples:
        found.add("samples")
    if job.stop_reason is StopReason.TARGET_REACHED:
        found.add("target_score")
    return found


def _found_nothing(job: Job) -> bool:
    reasons = (NO_TRIAL_SUCCEEDED, CONSTRAINTS_NOT_MET)
    return job.state is JobState.FAILED and (job.error or {}).get("reason") in reasons


def _check(job: Job) -> None:
    if not job.state.ended:
        raise FailedPrecondition(
            f"job {job.id!r} is {job.state}; wait for its end, or stop it, before it is extended",
            reason="JOB_UNFINISHED",
            metadata={"job": job.id, "state": str(job.state)},
        )
    if job.replay_of:
        raise FailedPrecondition(
            f"job {job.id!r} trains the model of job {job.replay_of!r} again and has no search to "
            f"go on with; extend job {job.replay_of!r}",
            reason="JOB_IS_A_REPLAY",
        )
    if job.state is JobState.SUCCEEDED or (job.model and job.state is JobState.FAILED):
        return
    if _found_nothing(job):
        return
    raise FailedPrecondition(
        f"job {job.id!r} is {job.state} and cannot be extended; only a job that succeeded, or that "
        "ended before any trial had, can; create a new job",
        reason="JOB_NOT_EXTENDABLE",
        metadata={"job": job.id, "state": str(job.state)},
    )
