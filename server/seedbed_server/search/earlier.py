"""Which earlier jobs' best settings a search tries: of those whose data is the most similar."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from seedbed_sdk.metrics import Metric
from seedbed_server.jobs.values import EarlierJob, Job, Origin, Winner
from seedbed_server.search.first_trials import first_trials
from seedbed_server.search.similarity import Features, distance
from seedbed_server.search.space import SearchSpace

MOST = 3
# About three times as many items, or columns, and nothing else that differs.
RADIUS = 0.5


def similar_jobs(
    winners: Sequence[Winner],
    job: Job,
    target_type: str,
    features: Features,
    space: SearchSpace,
    metric: Metric,
) -> tuple[EarlierJob, ...]:
    """The nearest jobs of the same project, task and type of target, at most 3 that differ in their
    settings, which are moved into the space. `features` describe the job's data.

    The same data and target is at distance 0. Of jobs that are as near, those that were chosen by
    the same metric come first, of them those with the better score, and of those the older.
    """
    if job.ignore_earlier_jobs:
        return ()
    near = [
        (apart, winner)
        for winner in winners
        if (winner.project, winner.task, winner.target_type) == (job.project, job.task, target_type)
        and winner.architecture in space.architectures
        and (apart := _distance(winner, job, features)) <= RADIUS
    ]
    sign = -1.0 if metric.higher_is_better else 1.0

    def rank(entry: tuple[float, Winner]) -> tuple[float, bool, float, datetime]:
        apart, winner = entry
        other = winner.metric != metric.name
        return apart, other, 0.0 if other else sign * winner.score, winner.create_time

    # What comes before them anyway needs nobody to suggest it.
    known = [
        (trial.architecture, trial.parameters)
        for trial in first_trials(space, job.starting_points)
        if trial.origin is not Origin.PORTFOLIO
    ]
    found: list[EarlierJob] = []
    for apart, winner in sorted(near, key=rank):
        parameters = space.settings(winner.architecture, winner.parameters)
        if (winner.architecture, parameters) not in known:
            known.append((winner.architecture, parameters))
            found.append(EarlierJob(winner.job, winner.architecture, parameters, apart))
    return tuple(found[:MOST])


def _distance(winner: Winner, job: Job, features: Features) -> float:
    same = (winner.dataset_fingerprint, winner.target) == (job.dataset_fingerprint, job.target)
    return 0.0 if same else distance(winner.features, features)
