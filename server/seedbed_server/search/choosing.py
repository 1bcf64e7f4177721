"""Whether a better score is more than chance."""

from __future__ import annotations

import numpy as np

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.metrics import Metric
from seedbed_server.search.scoring import RESAMPLES, measure_of

MAX_ITEMS = 2_000


def beats_by_more_than_chance(
    metric: Metric, target: Array, outputs: Array, than: Array, *, seed: int
) -> bool:
    """Whether `outputs` are better than those of a simpler model by more than one standard error of
    the difference, from 200 paired resamples of the validation items (the one-standard-error rule,
    Breiman et al. 1984, "Classification and Regression Trees"). True where there are so many items
    that the error is small in any case."""
    count = len(target)
    if count > MAX_ITEMS:
        return metric.better(metric.compute(target, outputs), metric.compute(target, than))
    sign = 1.0 if metric.higher_is_better else -1.0
    ours, theirs = measure_of(metric, target, outputs), measure_of(metric, target, than)

    def difference(rows: Array) -> float:
        return sign * (ours(rows) - theirs(rows))

    generator = np.random.default_rng(seed)
    resampled = [difference(generator.integers(0, count, count)) for _ in range(RESAMPLES)]
    finite = [value for value in resampled if np.isfinite(value)]
    gain = difference(np.arange(count))
    return bool(gain > (np.std(finite) if finite else 0.0))
