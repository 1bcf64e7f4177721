"""What a job has used, which jobs it took settings from, what came of training its model again,
and what a job would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Consumption:
    """What a job has used. `seconds` is what it was at work: preparing the data, searching, and
    finishing the model."""

    seconds: float = 0.0
    trials: int = 0
    samples: int = 0
    preparing: float = 0.0
    searching: float = 0.0
    finishing: float = 0.0


@dataclass(frozen=True, slots=True)
class Replay:
    """A model that was trained again, against the one that was published. `digest` is empty and
    `score`, on the validation split, None until there is one."""

    model: str
    expected_digest: str
    digest: str
    identical: bool
    expected_score: float
    score: float | None = None


@dataclass(frozen=True, slots=True)
class EarlierJob:
    """A job whose best settings another one tries. `distance` is how far apart their data sets are:
    0 for the same data and target, 1 for about ten times as many items."""

    job: str
    architecture: str
    parameters: Mapping[str, Any]
    distance: float


@dataclass(frozen=True, slots=True)
class PlannedArchitecture:
    """An architecture with its default settings: seconds of an epoch and of a trial, None where
    they could not be measured; `problem` says why, or why it would not be tried.

    `meets_constraints` says whether its models meet the job's constraints, None where that is not
    known or there are none, as measured on the one nearest to it: `latency_seconds` of an answer
    and `size_bytes` of its files. `constraints_reason` says why they are not met, or why that is
    not known."""

    name: str
    baseline: bool
    epoch_seconds: float | None
    epochs: float
    trial_seconds: float | None
    memory_bytes: int
    problem: str
    first_trials: int
    meets_constraints: bool | None = None
    latency_seconds: float | None = None
    size_bytes: int | None = None
    constraints_reason: str = ""


@dataclass(frozen=True, slots=True)
class PlannedTrial:
    """A trial that would be run, and its seconds where they could be measured. `origin` and
    `origin_job` are as of a `Trial`."""

    architecture: str
    parameters: Mapping[str, Any]
    seconds: float | None
    origin: str = ""
    origin_job: str = ""


@dataclass(frozen=True, slots=True)
class JobPlan:
    """What a job would do. `seconds`, `trials` and `samples`, the training items that would pass
    through models, are None where nothing could be measured;
    `first_trials` are those whose settings are known beforehand, `paused_trials` how many of all
    would not be trained to their end, since others are better."""

    target: str
    metric: str
    preparing: float
    finishing: float
    seconds: float | None
    trials: int | None
    memory_bytes: int
    architectures: tuple[PlannedArchitecture, ...]
    first_trials: tuple[PlannedTrial, ...]
    paused_trials: int | None = None
    samples: int | None = None
