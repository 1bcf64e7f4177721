"""Scores with confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from seedbed_sdk.blocks.base import Array, TargetBlock
from seedbed_sdk.metrics import Metric
from seedbed_server.jobs.values import Score

CONFIDENCE = 0.95
RESAMPLES = 200


def score(metric: Metric, target: Array, outputs: Array, *, seed: int) -> Score:
    """The metric on a split with its 95 % interval: Wilson's for accuracy, which is a proportion;
    for the rest the percentile bootstrap over items (Efron 1979) with 200 resamples. No interval
    where the metric is undefined on too many resamples."""
    value = metric.compute(target, outputs)
    interval = (
        _wilson(value, len(target))
        if metric.name == "accuracy" and target.ndim == 1
        else _bootstrap(metric, target, outputs, seed)
    )
    if interval is None:
        return Score(metric.name, value, len(target))
    return Score(metric.name, value, len(target), interval[0], interval[1], CONFIDENCE)


def score_all(
    metrics: Sequence[Metric], block: TargetBlock, chosen: Score, target: Array, outputs: Array
) -> list[Score]:
    """The chosen metric's score first, then the others' and the details that the target block
    tells, without intervals, where defined."""
    others = [metric for metric in metrics if metric.name != chosen.metric]
    values = {metric.name: metric.compute(target, outputs) for metric in others}
    values.update(block.details(target, outputs))
    found = [Score(name, value, len(target)) for name, value in values.items()]
    return [chosen, *(score for score in found if np.isfinite(score.value))]


def _wilson(share: float, count: int) -> tuple[float, float]:
    from scipy.stats import binomtest

    interval = binomtest(round(share * count), count).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def _bootstrap(
    metric: Metric, target: Array, outputs: Array, seed: int
) -> tuple[float, float] | None:
    generator = np.random.default_rng(seed)
    measure = measure_of(metric, target, outputs)
    scores = [measure(generator.integers(0, len(target), len(target))) for _ in range(RESAMPLES)]
    finite = np.asarray([s for s in scores if np.isfinite(s)])
    if finite.size < RESAMPLES / 2:
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return float(low), float(high)


def measure_of(metric: Metric, target: Array, outputs: Array) -> Callable[[Array], float]:
    """The metric on some of the rows, each as often as it is given; from sums over items where the
    metric has them, so that resampling is cheap."""
    finish = metric.finish
    if metric.statistics is None or finish is None:
        return lambda rows: metric.compute(target[rows], outputs[rows])
    statistics = metric.statistics(target, outputs)
    return lambda rows: finish(
        np.tensordot(np.bincount(rows, minlength=len(target)), statistics, 1)
    )
