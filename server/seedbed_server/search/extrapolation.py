"""What as many trials again would bring, by the scores there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seedbed_sdk.metrics import Metric

LEAST_TRIALS = 8
CONFIDENCE = 0.8
METHOD = (
    "as many trials again from the same distribution, whose best three tenths are continued by an "
    "exponential tail; it does not count on a search that learns"
)
TOP_SHARE = 0.3
LEAST_TOP = 4
DRAWS = 4000
# A distance so many times as wide as is usual above it is none between scores of one tail.
GAP = 5.0
# Scores closer than this share of their size differ by rounding alone.
SAME = 1e-9


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """The best score after `more_trials` further ones: `expected` on average, those beyond the
    interval counted as its ends; within `lower` and `upper` in at least 80 of 100 cases; None, with
    a reason, where nothing can be said. `improvement` is the probability in [0, 1] of any better
    score."""

    trials: int
    more_trials: int
    best: float | None
    expected: float | None = None
    lower: float | None = None
    upper: float | None = None
    improvement: float | None = None
    reason: str = ""
    confidence: float = CONFIDENCE
    method: str = METHOD


def twice_the_trials(
    scores: Sequence[float], metric: Metric, more: int, seed: int = 0
) -> Extrapolation:
    """What `more` further trials would bring to those with these finite scores, in the metric's own
    direction.

    The best three tenths are taken for the tail of a distribution that the further scores come from
    too: exponential, as tails of light-tailed distributions are far out (Pickands 1975), or
    geometric where the best score was reached several times, as with a measure that counts items.
    What is not known about the tail's scale and weight is drawn from their posterior distributions
    (Jeffreys' priors), so that the interval is wide where there are few trials.
    """
    sign = 1.0 if metric.higher_is_better else -1.0
    ordered = np.sort(sign * np.asarray(scores, dtype=np.float64))[::-1]
    known = len(ordered)
    best = None if known == 0 else sign * float(ordered[0])
    if best is not None and metric.best is not None and _same(best, metric.best, 1.0):
        reason = f"{metric.name} cannot be better than it is, {best:g}"
        return Extrapolation(known, more, best, reason=reason)
    if known < LEAST_TRIALS:
        reason = f"{known} trials have a score; at least {LEAST_TRIALS} are needed"
        return Extrapolation(known, more, best, reason=reason)
    assert best is not None
    if _same(float(ordered[0]), float(ordered[-1]), abs(best)):
        reason = f"all {known} trials have the same score, which says nothing about better ones"
        return Extrapolation(known, more, best, reason=reason)
    found = _best_of_more(ordered, more, np.random.default_rng(seed))
    found = np.maximum(found, ordered[0])
    if metric.best is not None:
        found = np.minimum(found, sign * metric.best)
    low, high = np.quantile(found, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    lower, upper = sorted((sign * float(low), sign * float(high)))
    return Extrapolation(
        trials=known,
        more_trials=more,
        best=best,
        expected=sign * float(np.mean(np.clip(found, low, high))),
        lower=lower,
        upper=upper,
        improvement=float(np.mean(found > ordered[0] + _tolerance(best))),
    )


def _best_of_more(
    ordered: NDArray[np.float64], more: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draws of the best of `more` further scores, higher being better; -inf where none of them is
    in the tail. `ordered` has the best first, and not all are the same."""
    best, known = float(ordered[0]), len(ordered)
    tolerance = _tolerance(best)
    top = min(known - 1, max(LEAST_TOP, math.ceil(TOP_SHARE * known)))
    tied = float(ordered[1]) >= best - tolerance
    if tied:
        step = _resolution(ordered, tolerance)
        steps = _level_excess(ordered, top, step)
        count, begin = len(steps), best - step * float(steps[0])
    else:
        count = _tail_length(ordered, top)
        begin = float(ordered[count])
    weight = rng.beta(count + 0.5, known - count + 0.5, DRAWS)
    in_tail = rng.binomial(more, weight)
    # The largest of so many exponential draws, by the inverse of its distribution function.
    largest = rng.uniform(size=DRAWS) ** (1.0 / np.maximum(in_tail, 1))
    units = -np.log1p(-np.minimum(largest, 1.0 - 1e-12))
    if tied:
        ratio = rng.beta(0.5 + np.sum(steps - 1.0), count + 0.5, DRAWS)
        beyond = step * np.ceil(units / -np.log(np.clip(ratio, 1e-12, 1.0 - 1e-12)))
    else:
        whole = float(np.sum(ordered[:count] - begin))
        beyond = units * whole / rng.gamma(count, size=DRAWS)
    return np.where(in_tail > 0, begin + beyond, -np.inf)


def _tail_length(ordered: NDArray[np.float64], top: int) -> int:
    """How many of the best scores make the tail: `top`, or fewer where a gap that is much wider
    than the distances among those above it parts them from the rest, as where a search has
    converged. In an exponential tail the distances times their places have one mean."""
    distances = np.arange(1, top + 1) * (ordered[:top] - ordered[1 : top + 1])
    for place in range(LEAST_TOP, top + 1):
        if distances[place - 1] > GAP * np.mean(distances[: place - 1]):
            return place - 1
    return top


def _level_excess(ordered: NDArray[np.float64], top: int, step: float) -> NDArray[np.float64]:
    """For scores that have steps: how many steps each one of the tail lies above where it begins,
    one step below its lowest; all scores of that value are in it."""
    levels = np.round((ordered - ordered[0]) / step)
    tail = levels[levels >= levels[top - 1]]
    gaps = np.flatnonzero(tail[:-1] - tail[1:] > GAP)
    tail = tail[: gaps[0] + 1] if len(gaps) else tail
    return np.asarray(tail - tail[-1] + 1.0)


def _resolution(ordered: NDArray[np.float64], tolerance: float) -> float:
    """The smallest difference between two scores that are not the same."""
    differences = ordered[:-1] - ordered[1:]
    return float(np.min(differences[differences > tolerance]))


def _tolerance(score: float) -> float:
    return SAME * max(abs(score), SAME)


def _same(one: float, other: float, size: float) -> bool:
    return abs(one - other) <= SAME * max(size, SAME)
