"""What a job's search says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from seedbed.job_parts import Consumption


@dataclass(frozen=True, slots=True)
class LearningCurvePoint:
    """A trial that became the best so far. `seconds`, `trials` and `samples` are what the job had
    used by then; time in which it waited is not among them."""

    seconds: float
    trials: int
    samples: int
    validation_score: float
    trial: int
    architecture: str


@dataclass(frozen=True, slots=True)
class TimeSpent:
    """Seconds that a job's time went into. All but `waiting`, for a free slot, add up to what the
    job has used; `choosing` is what of the search was not training."""

    preparing: float = 0.0
    training: float = 0.0
    choosing: float = 0.0
    finishing: float = 0.0
    waiting: float = 0.0


@dataclass(frozen=True, slots=True)
class Importances:
    """How much of the differences between trials' scores goes back to what: shares from 0 to 1 by
    hyperparameter, the largest first.

    Those of an `architecture` add up to 1. Where that is empty there is one, `architecture`: the
    share of the differences that lies between architectures. With no shares `reason` says why.
    """

    architecture: str
    shares: Mapping[str, float]
    trials: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """What `more_trials` further trials would bring on the validation split, judging by `trials`.

    `best` is the best score of any of them, which may be better than that of the learning curve.
    `expected` is the best score then, on average; it lies from `lower` to `upper` with probability
    `confidence` at least. `improvement` is the probability of any better score. They are None where
    nothing can be said, and `reason` says why.
    """

    trials: int
    more_trials: int
    best: float | None
    expected: float | None
    lower: float | None
    upper: float | None
    confidence: float
    improvement: float | None
    method: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class JobInsights:
    """How a search went: how the best score came about, what the time went into, what mattered for
    the score, and what twice the budget would bring."""

    job: str
    metric: str
    higher_is_better: bool
    learning_curve: tuple[LearningCurvePoint, ...]
    consumption: Consumption
    time_spent: TimeSpent
    importances: tuple[Importances, ...]
    twice_the_budget: Extrapolation
