"""Which trials are worth going on with, by what the others had reached as far on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median

from seedbed_sdk.metrics import Metric
from seedbed_server.jobs.values import Trial

# How much further each rung is than the one before, and so which share of trials goes on: all rungs
# then cost as much together. With a checkpoint a rung costs a third of what it would cost to begin
# again, where the usual 3 would save a third.
GROWTH = 1.5
RUNGS = 7
SHARES = tuple(GROWTH ** (rung - RUNGS) for rung in range(1, RUNGS + 1))


@dataclass
class Rungs:
    """The best scores that trials had at each rung, which is a share of their epochs: what makes
    trials of different lengths comparable. There are rungs at 9, 13, 20, 30, 44, 67 and 100 %.

    Asynchronous successive halving (Li et al. 2020, "A System for Massively Parallel Hyperparameter
    Tuning"): a trial pauses at a rung where it is in the worst third, and goes on when later trials
    have brought it out of there. The first `startup` trials at a rung all go on.
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
        if rung >= RUNGS or len(others) < self.startup:
            return True
        better = sum(self.metric.better(score, at_rung[trial]) for score in others)
        return better < len(at_rung) / GROWTH

    def lead(self, trial: int, rung: int) -> float:
        """How much better a trial is at a rung than the middle of the others, in the metric's own
        unit, for comparing trials that pause at different rungs."""
        at_rung = self._scores.get(rung, {})
        others = [score for number, score in at_rung.items() if number != trial]
        sign = 1.0 if self.metric.higher_is_better else -1.0
        return sign * (at_rung[trial] - median(others)) if others else 0.0


def by_lead(rungs: Rungs, reached: Mapping[int, int]) -> list[int]:
    """The trials that have paused, each by the rung it had reached, those furthest ahead first."""
    return sorted(reached, key=lambda number: (-rungs.lead(number, reached[number]), number))


def promoted(rungs: Rungs, reached: Mapping[int, int]) -> int | None:
    """The trial furthest ahead of those that later ones have brought out of the worst third."""
    good = (n for n in by_lead(rungs, reached) if rungs.goes_on(n, reached[n]))
    return next(good, None)


def rung_of(epoch: float, epochs: float) -> int:
    """The last rung that a trial has reached, from 1; 0 before the first."""
    share = epoch / max(epochs, 1.0)
    return sum(share >= rung - 1e-9 for rung in SHARES)


def rungs_of(trial: Trial, metric: Metric) -> Iterator[tuple[int, float]]:
    """The rungs that a trial of an earlier worker had reached, with its best score so far at each.
    Its reports are taken to be as far apart from each other."""
    planned = float(trial.parameters.get("epochs", trial.epochs)) or 1.0
    best: float | None = None
    for place, score in enumerate(trial.epoch_scores, start=1):
        best = score if best is None or metric.better(score, best) else best
        yield rung_of(trial.epochs * place / len(trial.epoch_scores), planned), best
