"""What the service answers, as frozen values without protos. Times are in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from seedbed.job_parts import Consumption, EarlierJob, Replay
from seedbed.space import Domain
from seedbed.values import PythonValue


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "QUEUED"
    PREPARING = "PREPARING"
    SEARCHING = "SEARCHING"
    FINISHING = "FINISHING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class TrialState(StrEnum):
    """How a trial is or went. A PRUNED one ended early, and its score counts."""

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Metric:
    """A measure of quality and the types of target it can measure."""

    name: str
    higher_is_better: bool
    target_types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Architecture:
    """A kind of model and its default search space."""

    name: str
    description: str
    baseline: bool
    search_space: Mapping[str, Domain]


@dataclass(frozen=True, slots=True)
class Task:
    """Something that can be learned from data. `options_schema` is JSON Schema."""

    name: str
    title: str
    description: str
    options_schema: Mapping[str, Any]
    metrics: tuple[Metric, ...]
    architectures: tuple[Architecture, ...]
    prediction_kinds: tuple[str, ...]
    input_types: tuple[str, ...]
    target_types: tuple[str, ...]
    package: str
    package_version: str

    @property
    def id(self) -> str:
        """The short name, such as `tabular`."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class PluginProblem:
    """A plugin that was found and could not be used."""

    plugin: str
    package: str
    message: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where data is. `split` is `TRAIN`, `VALID`, `TEST`, or empty to let the data decide. `role`
    is what a table describes that holds no items, such as `items`; `query` is for databases."""

    uri: str
    split: str = ""
    role: str = ""
    query: str = ""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Registered or uploaded data. `fingerprint` is a SHA-256 over its contents."""

    name: str
    display_name: str
    sources: tuple[Source, ...]
    fingerprint: str
    size_bytes: int
    create_time: datetime
    layout: str = ""

    @property
    def id(self) -> str:
        """The short name."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table and what it was understood to hold."""

    name: str
    type: str
    missing_count: int
    distinct_count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something noteworthy about the data. `severity` is `INFO`, `WARNING` or `ERROR`."""

    severity: str
    kind: str
    subject: str
    message: str
    suggestion: str


@dataclass(frozen=True, slots=True)
class Guess:
    """Something about data that was concluded and not said, why, and how to say otherwise."""

    what: str
    value: str
    why: str
    overrule: str


@dataclass(frozen=True, slots=True)
class SideTable:
    """A table that describes what the items refer to."""

    role: str
    row_count: int
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What data was understood to be. `splits` and `classes` count items."""

    layout: str
    splits: Mapping[str, int]
    columns: tuple[Column, ...]
    classes: Mapping[str, int]
    target: str
    samples: tuple[Mapping[str, PythonValue], ...]
    findings: tuple[Finding, ...]
    tasks: tuple[str, ...]
    content: str = ""
    guesses: tuple[Guess, ...] = ()
    tables: tuple[SideTable, ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """A metric's value on `item_count` items; [`lower`, `upper`] covers with `confidence`."""

    metric: str
    value: float
    item_count: int
    lower: float | None = None
    upper: float | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """One training run. `samples` counts items passed forwards and backwards. `origin` is where its
    settings came from: `baseline`, `starting_point`, `earlier_job` (then `origin_job` is the job's
    name), `portfolio` or `sampler`."""

    number: int
    state: TrialState
    architecture: str
    baseline: bool
    parameters: Mapping[str, Any]
    validation_score: float | None
    epochs: float
    samples: int
    seconds: float
    reason: str
    origin: str = ""
    origin_job: str = ""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The job went into `state`. `seconds` is what it had used by then, or None where an older
    server did not write that down."""

    state: JobState
    error: str = ""
    stop_reason: str = ""
    model: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """`fraction` is in [0, 1]; `seconds_left` is an estimate, or None without one."""

    fraction: float = 0.0
    seconds_left: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class TrialStarted:
    """A trial began."""

    trial: int
    architecture: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EpochFinished:
    """A trial finished `epoch` (from 1) of `epochs`."""

    trial: int
    epoch: int
    epochs: int
    validation_score: float
    samples: int
    train_loss: float | None = None


@dataclass(frozen=True, slots=True)
class TrialFinished:
    """A trial ended; `reason` says why it failed or was pruned."""

    trial: int
    state: TrialState
    validation_score: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BestChanged:
    """A trial became the best so far: one point of the learning curve. `seconds`, `trials` and
    `samples` are what the job had used by then; `seconds` is None where an older server did not
    write that down."""

    trial: int
    architecture: str
    validation_score: float
    seconds: float | None = None
    trials: int = 0
    samples: int = 0


@dataclass(frozen=True, slots=True)
class Log:
    """A line for people. `severity` is `INFO` or `WARNING`."""

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


@dataclass(frozen=True, slots=True)
class ModelInput:
    """A column that a model predicts from; `type` is `numeric`, `category`, `image`, …"""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Classification:
    """One class; `probabilities` has the most probable class first, and adds up to 1."""

    label: str
    probabilities: Mapping[str, float]

    @property
    def value(self) -> str:
        """The answer itself."""
        return self.label


@dataclass(frozen=True, slots=True)
class Regression:
    """A number in the target's own unit, with its interval where one is known."""

    value: float
    lower: float | None = None
    upper: float | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class MultiLabel:
    """Any number of classes: `labels` are those that apply, `probabilities` has all of them, the
    most probable first."""

    labels: tuple[str, ...]
    probabilities: Mapping[str, float]

    @property
    def value(self) -> tuple[str, ...]:
        """The answer itself."""
        return self.labels


@dataclass(frozen=True, slots=True)
class Segmentation:
    """A class for every pixel: PNG files of class numbers and of the picture under their colours,
    both as large as the picture; `shares` of the pixels add up to 1, the largest first."""

    mask_png: bytes = field(repr=False)
    overlay_png: bytes = field(repr=False)
    shares: Mapping[str, float] = field(default_factory=dict)

    @property
    def value(self) -> bytes:
        """The answer itself."""
        return self.mask_png


@dataclass(frozen=True, slots=True)
class Ranking:
    """Things and their scores, the best first."""

    items: tuple[tuple[str, float], ...]

    @property
    def value(self) -> tuple[str, ...]:
        """The answer itself."""
        return tuple(item for item, _ in self.items)


@dataclass(frozen=True, slots=True)
class MultiTarget:
    """An answer for each of several targets, by the target's column."""

    targets: Mapping[str, Classification | Regression]

    @property
    def value(self) -> dict[str, str | float]:
        """The answer itself."""
        return {name: answer.value for name, answer in self.targets.items()}


Prediction = Classification | Regression | MultiLabel | Segmentation | Ranking | MultiTarget


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of a search; the first one reached ends it. None means no such limit."""

    seconds: float | None = None
    trials: int | None = None
    samples: int | None = None
    target_score: float | None = None


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a model has to keep to: seconds for the answer to one example, bytes of its files. None
    means no such limit."""

    max_latency: float | None = None
    max_size: int | None = None


@dataclass(frozen=True, slots=True)
class JobInfo:
    """A job as it was when the server answered."""

    name: str
    display_name: str
    task: str
    dataset: str
    target: str
    metric: str
    budget: Budget
    seed: int | None
    state: JobState
    error: str
    stop_reason: str
    progress: Progress
    trials: int
    samples: int
    model: str
    validation_score: Score | None
    test_score: Score | None
    create_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    last_sequence: int
    options: Mapping[str, Any] = field(default_factory=dict)
    search_space: Mapping[str, Domain] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    consumption: Consumption = field(default_factory=Consumption)
    replay_of: str = ""
    replay: Replay | None = None
    constraints: Constraints = Constraints()
    starting_points: tuple[Mapping[str, Any], ...] = ()
    ignore_earlier_jobs: bool = False
    earlier_jobs: tuple[EarlierJob, ...] = ()
    find_learning_rate: bool = False

    @property
    def id(self) -> str:
        """The short name."""
        return self.name.rpartition("/")[2]

    @property
    def seconds(self) -> float | None:
        """What it was at work; None while it has not ended, or never began."""
        if self.start_time is None or self.end_time is None:
            return None
        return self.consumption.seconds


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model as it was when the server answered. `latency` is the median of seconds for the answer
    to one example, None where it is not known."""

    name: str
    display_name: str
    task: str
    job: str
    trial: int
    architecture: str
    parameters: Mapping[str, Any]
    validation_score: Score | None
    test_score: Score | None
    inputs: tuple[ModelInput, ...]
    target: str
    classes: tuple[str, ...]
    dataset_fingerprint: str
    size_bytes: int
    create_time: datetime
    test_scores: tuple[Score, ...] = ()
    digest: str = ""
    latency: float | None = None

    @property
    def id(self) -> str:
        """The short name."""
        return self.name.rpartition("/")[2]
