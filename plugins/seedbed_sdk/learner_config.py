"""How a network is trained, and who takes part."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from seedbed_sdk.schedule import Schedule
from seedbed_sdk.trainer import EpochReport, Verdict

if TYPE_CHECKING:
    from seedbed_sdk.learner import Learner


@dataclass(frozen=True, slots=True)
class LearnerConfig:
    """How a network is trained.

    `label_smoothing` is in [0, 1). `validate_every` is how many epochs there are from one
    validation pass to the next, for networks that take long to predict; the first and the last
    epoch always have one. `patience` ends the run after so many passes without a better validation
    score. `averaging` in [0, 1) is the decay of an exponential moving average of the weights, which
    is then what is scored and kept; 0 keeps the weights themselves. `clip_norm` bounds the norm of
    the gradient. `final_predict_cost` is how many times longer predicting takes once the network is
    trained, such as when it then looks at each item several times.
    """

    epochs: int
    learning_rate: float
    weight_decay: float = 0.01
    batch_size: int = 256
    predict_batch_size: int = 1024
    label_smoothing: float = 0.0
    validate_every: int = 1
    patience: int | None = None
    averaging: float = 0.0
    clip_norm: float | None = None
    final_predict_cost: float = 1.0
    schedule: Schedule = field(default_factory=Schedule)


class Callback:
    """Takes part in a run; every method does nothing unless overridden."""

    def before_fit(self, learner: Learner) -> None:
        """Before the first step, or the first after resuming."""

    def after_step(self, learner: Learner) -> None:
        """After each step of the optimiser."""

    def after_epoch(self, learner: Learner, report: EpochReport, verdict: Verdict) -> None:
        """After the validation outputs of an epoch have been reported."""

    def after_fit(self, learner: Learner) -> None:
        """At the end, with the best weights in place."""
