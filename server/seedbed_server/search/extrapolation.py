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
    "as many trials again, from the same distribution, whose best fifth is continued by an "
    "exponential tail"
)
TOP_SHARE = 0.2
LEAST_TOP = 3
DRAWS = 4000
# Scores closer than this share of their size differ by rounding alone.
SAME = 1e-9


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """The best score after `more_trials` further ones: `expected` on average, and within `lower`
    and `upper` in at least 80 of 100 cases; None, with a reason, where nothing can be said.
    `improvement` is the probability in [0, 1] of any better score."""

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

    The scores of the best fifth are taken for the tail of a distribution that the further ones come
    from too: exponential (the limit for most distributions, see Pickands 1975), or geometric where
    the best score was reached several times, as with a measure that counts items. What is not known
    about the tail's scale and weight is drawn from their posterior distributions, so that the
    interval is wide where there are few trials.
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
        expected=sign * float(np.mean(found)),
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
    top = max(LEAST_TOP, math.ceil(TOP_SHARE * known))
    ties = int(np.sum(ordered >= best - _tolerance(best)))
    # The tail begins below what it consists of, so that one of its scores is no measure of it.
    begin = float(ordered[max(top, ties)]) if max(top, ties) < known else float(ordered[-1])
    excess = ordered[ordered > begin + _tolerance(best)] - begin
    count = len(excess)
    weight = rng.beta(count + 0.5, known - count + 0.5, DRAWS)
    in_tail = rng.binomial(more, weight)
    # The largest of so many exponential draws, by the inverse of its distribution function.
    largest = rng.uniform(size=DRAWS) ** (1.0 / np.maximum(in_tail, 1))
    units = -np.log1p(-np.minimum(largest, 1.0 - 1e-12))
    if ties > 1:
        step = _resolution(excess, _tolerance(best))
        steps = np.round(excess / step)
        ratio = rng.beta(0.5 + np.sum(steps - 1.0), count + 0.5, DRAWS)
        beyond = step * np.ceil(units / -np.log(np.clip(ratio, 1e-12, 1.0 - 1e-12)))
    else:
        beyond = units * np.sum(excess) / rng.gamma(count + 1.0, size=DRAWS)
    return np.where(in_tail > 0, begin + beyond, -np.inf)


def _resolution(excess: NDArray[np.float64], tolerance: float) -> float:
    """The smallest difference between the scores of the tail, its beginning included."""
    differences = np.diff(np.concatenate([[0.0], np.sort(excess)]))
    return float(np.min(differences[differences > tolerance]))


def _tolerance(score: float) -> float:
    return SAME * max(abs(score), SAME)


def _same(one: float, other: float, size: float) -> bool:
    return abs(one - other) <= SAME * max(size, SAME)
