"""The trials that a search begins with, whatever comes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seedbed_sdk.space import Parameters
from seedbed_server.jobs.values import EarlierJob, Job, Origin
from seedbed_server.search.space import ARCHITECTURE, SearchSpace


@dataclass(frozen=True)
class FirstTrial:
    """Complete settings inside the search space, and where they came from: `job` is the id of an
    earlier one."""

    architecture: str
    parameters: Parameters
    origin: Origin
    job: str = ""


def first_trials_of(space: SearchSpace, job: Job) -> list[FirstTrial]:
    """What a job's search begins with."""
    return first_trials(space, job.starting_points, job.earlier_jobs or ())


def first_trials(
    space: SearchSpace,
    starting_points: Sequence[Mapping[str, Any]] = (),
    earlier_jobs: Sequence[EarlierJob] = (),
) -> list[FirstTrial]:
    """The baselines, the user's starting points, the best settings of earlier jobs, then the other
    architectures' portfolios by turns; settings that come twice count where they come first. What
    names an architecture that is not in the space is left out."""
    found: list[FirstTrial] = []
    for trial in _all(space, starting_points, earlier_jobs):
        if all(
            (trial.architecture, trial.parameters) != (other.architecture, other.parameters)
            for other in found
        ):
            found.append(trial)
    return found


def _all(
    space: SearchSpace,
    starting_points: Sequence[Mapping[str, Any]],
    earlier_jobs: Sequence[EarlierJob],
) -> Iterator[FirstTrial]:
    portfolio = space.portfolio()
    for name, parameters in portfolio:
        if space.architectures[name].baseline:
            yield FirstTrial(name, parameters, Origin.BASELINE)
    for point in starting_points:
        name = str(point[ARCHITECTURE])
        if name in space.architectures:
            yield FirstTrial(name, space.settings(name, point), Origin.STARTING_POINT)
    for job in earlier_jobs:
        name = job.architecture
        if name in space.architectures:
            parameters = space.settings(name, job.parameters)
            yield FirstTrial(name, parameters, Origin.EARLIER_JOB, job.job)
    for name, parameters in portfolio:
        if not space.architectures[name].baseline:
            yield FirstTrial(name, parameters, Origin.PORTFOLIO)
