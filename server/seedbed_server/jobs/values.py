"""The values that jobs are made of: frozen, free of protos, rows and torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from seedbed_sdk.space import Domain


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "QUEUED"
    PREPARING = "PREPARING"
    SEARCHING = "SEARCHING"
    FINISHING = "FINISHING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def ended(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class StopReason(StrEnum):
    """Which limit ended a search."""

    TIME_BUDGET = "TIME_BUDGET"
    TRIAL_BUDGET = "TRIAL_BUDGET"
    SAMPLE_BUDGET = "SAMPLE_BUDGET"
    TARGET_REACHED = "TARGET_REACHED"
    USER = "USER"
    SPACE_EXHAUSTED = "SPACE_EXHAUSTED"


INTERRUPTED = "the server was stopped during the trial"
"""The reason of a trial that failed for no fault of its own; its settings are tried again."""
WORKER_DIED = "worker process died: "
HUNG = "hung: "
OUT_OF_MEMORY = "out of memory"
"""How the reasons of trials begin in which the process died, that did not end when they were told
to, and for which memory did not suffice."""


class TrialState(StrEnum):
    """How a trial is or went."""

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAILED = "FAILED"


class Origin(StrEnum):
    """Where a trial's settings came from."""

    BASELINE = "baseline"
    STARTING_POINT = "starting_point"
    EARLIER_JOB = "earlier_job"
    PORTFOLIO = "portfolio"
    SAMPLER = "sampler"


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of a search; None means no such limit. The first one reached ends it."""

    wall_clock_seconds: float | None = None
    trials: int | None = None
    samples: int | None = None
    target_score: float | None = None


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a model has to keep to where it is used; None means no such limit. The latency is the
    median time of answering one example on a processor."""

    max_latency_seconds: float | None = None
    max_size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Consumption:
    """What a job has used. Seconds are those of the phases that have ended."""

    trials: int = 0
    samples: int = 0
    preparing_seconds: float = 0.0
    searching_seconds: float = 0.0
    finishing_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """Of all phases together."""
        return self.preparing_seconds + self.searching_seconds + self.finishing_seconds


_PHASES = {
    JobState.PREPARING: "preparing_seconds",
    JobState.SEARCHING: "searching_seconds",
    JobState.FINISHING: "finishing_seconds",
}


@dataclass(frozen=True, slots=True)
class Progress:
    """`fraction` is in [0, 1]; `seconds_left` is an estimate or None."""

    fraction: float = 0.0
    seconds_left: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """A metric's value with the ends of its confidence interval, where there is one."""

    metric: str
    value: float
    item_count: int
    lower: float | None = None
    upper: float | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the data that a careful person would want to know.

    `severity` is `INFO`, `WARNING` or `ERROR`.
    """

    severity: str
    kind: str
    message: str
    subject: str = ""
    suggestion: str = ""


@dataclass(frozen=True, slots=True)
class Replay:
    """A model that is trained again. `recipe` is that of the model; scores are on the validation
    split; `digest` is empty and `score` None until it is done."""

    model: str
    recipe: Mapping[str, Any]
    expected_digest: str
    expected_score: float
    digest: str = ""
    score: float | None = None

    @property
    def identical(self) -> bool:
        """Whether the weights are the same."""
        return self.digest == self.expected_digest


@dataclass(frozen=True, slots=True)
class EarlierJob:
    """A job whose best settings another job tries. `distance` is how far apart their data sets are,
    as `search.similarity` measures it."""

    job: str
    architecture: str
    parameters: Mapping[str, Any]
    distance: float


@dataclass(frozen=True, slots=True)
class Winner:
    """The best settings of a search that succeeded, for later searches on similar data. `features`
    describe its data as `search.similarity` does; `score` is that on the validation split."""

    job: str
    project: str
    task: str
    target: str
    target_type: str
    metric: str
    architecture: str
    parameters: Mapping[str, Any]
    score: float
    features: Mapping[str, float]
    dataset_fingerprint: str
    create_time: datetime


@dataclass(frozen=True, slots=True)
class Job:
    """A search. `error` is `SeedbedError.to_dict()`; `attempt` is the lease's fencing token.

    `deaths` counts the worker processes that died in a row without a trial ended in between.
    `state_time` is when it went into its state. A job with `replay_of` is no search: it trains that
    job's model again. `earlier_jobs` is None until its search has started. `trace_context` are the
    headers of W3C Trace Context that its attempts are traced under, empty without traces.
    """

    id: str
    project: str
    task: str
    dataset: str
    budget: Budget
    create_time: datetime
    update_time: datetime
    display_name: str = ""
    target: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    metric: str = ""
    seed: int = 0
    search_space: Mapping[str, Domain] = field(default_factory=dict)
    dataset_fingerprint: str = ""
    state: JobState = JobState.QUEUED
    error: Mapping[str, Any] | None = None
    stop_reason: StopReason | None = None
    stop_requested: bool = False
    progress: Progress = Progress()
    consumption: Consumption = Consumption()
    model: str = ""
    validation_score: Score | None = None
    test_score: Score | None = None
    findings: tuple[Finding, ...] = ()
    start_time: datetime | None = None
    end_time: datetime | None = None
    last_sequence: int = 0
    attempt: int = 0
    deaths: int = 0
    state_time: datetime | None = None
    replay_of: str = ""
    replay: Replay | None = None
    constraints: Constraints = Constraints()
    starting_points: tuple[Mapping[str, Any], ...] = ()
    ignore_earlier_jobs: bool = False
    earlier_jobs: tuple[EarlierJob, ...] | None = None
    find_learning_rate: bool = False
    trace_context: Mapping[str, str] = field(default_factory=dict)

    def used(self, until: datetime) -> Consumption:
        """What the job has used, with the phase that is under way up to `until`."""
        phase = _PHASES.get(self.state)
        if phase is None or self.state_time is None:
            return self.consumption
        seconds = max(0.0, (until - self.state_time).total_seconds())
        so_far = getattr(self.consumption, phase)
        return replace(self.consumption, **{phase: so_far + seconds})


@dataclass(frozen=True, slots=True)
class Trial:
    """One training run. `samples` counts items passed forwards and backwards; `recipe` is what
    `search.recipes` needs to run it again. `origin` is an Origin, or empty where an earlier version
    ran it; `origin_job` is the id of an EARLIER_JOB."""

    number: int
    architecture: str
    parameters: Mapping[str, Any]
    state: TrialState = TrialState.RUNNING
    baseline: bool = False
    validation_score: float | None = None
    epoch_scores: tuple[float, ...] = ()
    epochs: float = 0.0
    samples: int = 0
    seconds: float = 0.0
    reason: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""
    origin_job: str = ""


@dataclass(frozen=True, slots=True)
class InputField:
    """A column that a model predicts from.

    `type` is `numeric`, `category`, `date`, `boolean`, `text` or `image`.
    """

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Model:
    """A trained model. `folder` is the bundle's path relative to the data directory's `models`.
    `test_scores` are all measures that fit the target, `test_score` among them. `digest` is that of
    the weights (`seedbed_sdk.bundle.digest_of`), `recipe` how they came about: `members`, the
    numbers of the trials, of each its weight in `weights` and in `refit` the hyperparameters of
    training once more on all items or None; the validation `score` of the trials with these
    weights; `threads` and `device`. `latency_seconds` is the median of answering one example, where
    that was measured."""

    id: str
    project: str
    task: str
    job: str
    trial: int
    architecture: str
    parameters: Mapping[str, Any]
    inputs: tuple[InputField, ...]
    folder: str
    create_time: datetime
    display_name: str = ""
    target: str = ""
    classes: tuple[str, ...] = ()
    validation_score: Score | None = None
    test_score: Score | None = None
    dataset_fingerprint: str = ""
    size_bytes: int = 0
    test_scores: tuple[Score, ...] = ()
    digest: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    latency_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class StateChanged:
    """`seconds` is the job's clock then; None in rows from before it was written down."""

    state: JobState
    error: Mapping[str, Any] | None = None
    stop_reason: StopReason | None = None
    model: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TrialStarted:
    trial: int
    architecture: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EpochFinished:
    trial: int
    epoch: int
    epochs: int
    validation_score: float
    samples: int
    train_loss: float | None = None


@dataclass(frozen=True, slots=True)
class TrialFinished:
    trial: int
    state: TrialState
    validation_score: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BestChanged:
    """`seconds`, `trials` and `samples` are what the job had used then; the session fills them in.
    `seconds` is None in rows from before they were written down."""

    trial: int
    architecture: str
    validation_score: float
    seconds: float | None = None
    trials: int = 0
    samples: int = 0


@dataclass(frozen=True, slots=True)
class Log:
    severity: str
    message: str


EventBody = (
    StateChanged
    | Progress
    | TrialStarted
    | EpochFinished
    | TrialFinished
    | BestChanged
    | Finding
    | Log
)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job; `sequence` counts from 1 without gaps."""

    sequence: int
    time: datetime
    body: EventBody
