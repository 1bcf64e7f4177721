"""What GetJobInsights answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from seedbed.v1 import jobs_pb2
from seedbed_sdk.errors import FailedPrecondition
from seedbed_sdk.space import domain_to_dict
from seedbed_server.api import convert, names
from seedbed_server.api.rooms import Rooms
from seedbed_server.jobs import insights
from seedbed_server.jobs.values import BestChanged, Job, Trial, TrialState
from seedbed_server.store.values import now

# The libraries are there already, and what is computed is bounded.
TIMEOUT_SECONDS = 60.0


async def insights_of(rooms: Rooms, job: Job) -> jobs_pb2.JobInsights:
    """What a job's search says about itself. Raises FailedPrecondition for a replay."""
    if job.replay_of:
        raise FailedPrecondition(
            f"job {job.id!r} trains the model of job {job.replay_of!r} again and has no search to "
            f"tell of; ask for job {job.replay_of!r}",
            reason="JOB_IS_A_REPLAY",
        )
    trials = await asyncio.to_thread(rooms.store.trials.list, job.id)
    events = await asyncio.to_thread(rooms.store.events.of_kinds, job.id, insights.KINDS)
    found = await rooms.calls.call("job_insights", _payload(job, trials), timeout=TIMEOUT_SECONDS)
    time = now()
    spent = insights.time_spent(job, events, time)
    return jobs_pb2.JobInsights(
        job=names.job(job.project, job.id),
        metric=job.metric,
        higher_is_better=found["higher_is_better"],
        learning_curve=map(_point, insights.learning_curve(events)),
        consumption=convert.consumption_to_message(job.used(time)),
        time_spent=jobs_pb2.TimeSpent(
            preparing=convert.duration(spent.preparing),
            training=convert.duration(spent.training),
            choosing=convert.duration(spent.choosing),
            finishing=convert.duration(spent.finishing),
            waiting=convert.duration(spent.waiting),
        ),
        importances=map(_importances, found["importances"]),
        twice_the_budget=_extrapolation(found["extrapolation"]),
    )


def _payload(job: Job, trials: Sequence[Trial]) -> dict[str, Any]:
    return {
        "task": job.task,
        "metric": job.metric,
        "search_space": {key: domain_to_dict(domain) for key, domain in job.search_space.items()},
        "seed": job.seed,
        "stop_reason": str(job.stop_reason or ""),
        "trials": [
            {
                "number": trial.number,
                "architecture": trial.architecture,
                "parameters": dict(trial.parameters),
                "validation_score": trial.validation_score,
            }
            for trial in trials
            if trial.validation_score is not None and trial.state is not TrialState.FAILED
        ],
    }


def _point(best: BestChanged) -> jobs_pb2.LearningCurvePoint:
    return jobs_pb2.LearningCurvePoint(
        wall_clock=convert.duration(best.seconds),
        trials=best.trials,
        samples=best.samples,
        validation_score=best.validation_score,
        trial=best.trial,
        architecture=best.architecture,
    )


def _importances(found: Mapping[str, Any]) -> jobs_pb2.Importances:
    return jobs_pb2.Importances(
        architecture=found["architecture"],
        parameters=[
            jobs_pb2.Importance(name=name, share=share) for name, share in found["shares"].items()
        ],
        trials=found["trials"],
        reason=found["reason"],
    )


def _extrapolation(found: Mapping[str, Any]) -> jobs_pb2.Extrapolation:
    return jobs_pb2.Extrapolation(
        trials=found["trials"],
        more_trials=found["more_trials"],
        best=found["best"],
        expected=found["expected"],
        lower=found["lower"],
        upper=found["upper"],
        confidence=found["confidence"],
        improvement_probability=found["improvement"],
        method=found["method"],
        reason=found["reason"],
    )
