"""Which trials are worth going on with, by what the others had reached as far on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

from seedbed_sdk.metrics import Metric
from seedbed_server.jobs.values import Trial

RUNGS = 10
FIRST_THAT_DECIDES = 3


@dataclass
class Rungs:
    """The best scores that trials had at each tenth of their epochs: what makes trials of different
    lengths comparable.

    Asynchronous successive halving (Li et al. 2020, "A System for Massively Parallel Hyperparameter
    Tuning"): a trial pauses at a rung where it is not in the better half, and goes on when later
    trials have brought it there. The first `startup` trials at a rung all go on, and so does every
    trial up to the third rung.
    """

    metric: Metric
    startup: int
    _scores: dict[int, dict[int, float]] = field(default_factory=dict)

    def note(self, trial: int, rung: int, score: float) -> None:
        """A trial has reached a rung."""
        self._scores.setdefault(rung, {})[trial] = score

    def goes_on(self, trial: int, rung: int) -> bool:
        """Whether a trial is to go on from a rung that it has reached."""
        at_rung = self._scores.get(rung, {})
        others = [score for number, score in at_rung.items() if number != trial]
        if rung < FIRST_THAT_DECIDES or rung >= RUNGS or len(others) < self.startup:
            return True
        own, middle = at_rung[trial], median(others)
        return own == middle or self.metric.better(own, middle)

    def lead(self, trial: int, rung: int) -> float:
        """How much better a trial is at a rung than the middle of the others, in the metric's own
        unit, for comparing trials that pause at different rungs."""
        at_rung = self._scores.get(rung, {})
        others = [score for number, score in at_rung.items() if number != trial]
        sign = 1.0 if self.metric.higher_is_better else -1.0
        return sign * (at_rung[trial] - median(others)) if others else 0.0


def rung_of(epoch: float, epochs: float) -> int:
    """In which tenth of its epochs a trial is, from 1 to 10."""
    return int(min(RUNGS, max(1, RUNGS * epoch // max(epochs, 1))))


def rungs_of(trial: Trial, metric: Metric) -> Iterator[tuple[int, float]]:
    """The rungs that a trial of an earlier worker had reached, with its best score so far at each.
    Its reports are taken to be as far apart from each other."""
    planned = float(trial.parameters.get("epochs", trial.epochs)) or 1.0
    best: float | None = None
    for place, score in enumerate(trial.epoch_scores, start=1):
        best = score if best is None or metric.better(score, best) else best
        yield rung_of(trial.epochs * place / len(trial.epoch_scores), planned), best
