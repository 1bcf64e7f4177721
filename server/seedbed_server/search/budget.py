"""How much of a job's budget is used, and what is left for the next trial."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from seedbed_sdk.metrics import Metric
from seedbed_server.jobs.values import Budget, Progress, StopReason

FINISHING_SECONDS = 0.6
FINISHING_SHARE = 0.01
SCORING_MARGIN = 1.2
ENSEMBLING_SHARE = 0.1
# Training once more takes longer than the trial did, having more items.
REFIT_SLOWER = 1.25
REFIT_SHARE = 0.15


@dataclass
class Spending:
    """What has been used, against the limits.

    `started` is a `time.monotonic()` at which the wall-clock budget began. `item_seconds` is how
    long the best model so far takes to predict an item, `trial_item_seconds` the same of the trial
    that runs, and `test_items` how many will be scored at the end: together they say how much time
    to set aside. `ensembling_seconds` is what choosing an ensemble, training its members once more
    and scoring it would take beyond that; at most a tenth of the wall clock is set aside for it.
    `refit_seconds` is set aside for training the model once more on all items.
    """

    budget: Budget
    started: float
    trials: int = 0
    samples: int = 0
    test_items: int = 0
    item_seconds: float = 0.0
    trial_item_seconds: float = 0.0
    ensembling_seconds: float = 0.0
    refit_seconds: float = 0.0

    def elapsed(self) -> float:
        """Seconds since the budget began."""
        return time.monotonic() - self.started

    def reserve(self) -> float:
        """Seconds that finishing will take: scoring the test split, writing the bundle."""
        wall_clock = self.budget.wall_clock_seconds or 0.0
        scoring = self._scoring_seconds(max(self.item_seconds, self.trial_item_seconds))
        ensembling = min(self.ensembling_seconds, self.most_for_an_ensemble())
        finishing = FINISHING_SECONDS + FINISHING_SHARE * wall_clock
        return finishing + scoring + ensembling + self.refit_seconds

    def most_for_an_ensemble(self) -> float:
        """Seconds that may be set aside for what an ensemble takes beyond the best model."""
        return ENSEMBLING_SHARE * (self.budget.wall_clock_seconds or 0.0)

    def set_refit_aside(self, trial_seconds: float, repeats: int = 1) -> None:
        """Sets time aside for training a model once more that took so long, 0 for none, and up to
        so many times; at most 15 % of the wall clock, nothing where that is not enough for one."""
        wanted = REFIT_SLOWER * trial_seconds
        most = REFIT_SHARE * (self.budget.wall_clock_seconds or 0.0)
        self.refit_seconds = 0.0
        if 0 < wanted <= most:
            further = wanted + self._scoring_seconds(self.item_seconds)
            count = min(repeats - 1, int((most - wanted) / further))
            self.refit_seconds = wanted + count * further

    def has_time_to_refit(self, trial_seconds: float) -> bool:
        """Whether a model that took so long can be trained once more before the end."""
        rest = (self.reserve() - self.refit_seconds) / 2
        return REFIT_SLOWER * trial_seconds <= self.seconds_left() + self.refit_seconds + rest

    def refits_that_fit(self, trial_seconds: float, done: int) -> int:
        """How many more models that took so long can be trained before the end, where `done` have
        been and all are to be scored."""
        left = self.seconds_left() + self.refit_seconds
        if math.isinf(left):
            return 2**31
        scoring = self._scoring_seconds(self.item_seconds)
        return max(0, int((left - done * scoring) / (trial_seconds + scoring)))

    def _scoring_seconds(self, item_seconds: float) -> float:
        return SCORING_MARGIN * item_seconds * self.test_items

    def seconds_to_end(self) -> float:
        """Until the budget is used, finishing included; infinite without a wall-clock budget."""
        return self.seconds_left() + self.reserve()

    def seconds_left(self) -> float:
        """For trials, finishing set aside; infinite without a wall-clock budget."""
        if self.budget.wall_clock_seconds is None:
            return math.inf
        return self.budget.wall_clock_seconds - self.elapsed() - self.reserve()

    def samples_left(self) -> float:
        """Training items that may still be passed; infinite without such a budget."""
        return math.inf if self.budget.samples is None else self.budget.samples - self.samples

    def reached(self, metric: Metric, best: float | None) -> StopReason | None:
        """The limit that is reached, if one is."""
        if self.seconds_left() <= 0:
            return StopReason.TIME_BUDGET
        if self.budget.trials is not None and self.trials >= self.budget.trials:
            return StopReason.TRIAL_BUDGET
        if self.samples_left() <= 0:
            return StopReason.SAMPLE_BUDGET
        if reaches(self.budget.target_score, metric, best):
            return StopReason.TARGET_REACHED
        return None

    def progress(self, message: str) -> Progress:
        """By the limit that is nearest."""
        shares: list[float] = []
        left: list[float] = []
        if self.budget.wall_clock_seconds:
            shares.append(self.elapsed() / self.budget.wall_clock_seconds)
            left.append(self.budget.wall_clock_seconds - self.elapsed())
        if self.budget.trials:
            shares.append(self.trials / self.budget.trials)
        if self.budget.samples:
            shares.append(self.samples / self.budget.samples)
        fraction = min(1.0, max(shares, default=0.0))
        if not left and fraction > 0:
            left.append(self.elapsed() * (1 - fraction) / fraction)
        return Progress(fraction, max(0.0, min(left)) if left else None, message)


def reaches(target: float | None, metric: Metric, score: float | None) -> bool:
    """Whether a score is as good as the one that was asked for."""
    if target is None or score is None:
        return False
    return score == target or metric.better(score, target)
