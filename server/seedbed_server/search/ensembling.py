"""Which trained models answer better together than the best of them alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seedbed_sdk.blocks.base import Array, TargetBlock
from seedbed_sdk.ensemble import weighted_mean
from seedbed_sdk.metrics import METRICS, Metric
from seedbed_server.search.choosing import MAX_ITEMS, beats_by_more_than_chance
from seedbed_server.search.scoring import RESAMPLES

MIN_ITEMS = 50
FOLDS = 5
BAGS = 6
ROUNDS = 6
MAX_ROWS = 2_000
LEAST_WEIGHT = 0.05


@dataclass(frozen=True)
class Ensemble:
    """A weight for each of the models, 0 for those that are not in it; they add up to 1. `outputs`
    are validation outputs that show what it is worth: of each item with the weights that were
    chosen without it."""

    weights: tuple[float, ...]
    outputs: Array


def finer_metric(target: TargetBlock) -> Metric | None:
    """What tells models apart where the job's metric counts few items: the log loss of classes."""
    return METRICS["log_loss"] if target.prediction_kind == "classification" else None


def select(
    metric: Metric,
    target: Array,
    outputs: Sequence[Array],
    *,
    seed: int,
    seconds: float,
    finer: Metric | None = None,
) -> Ensemble | None:
    """Greedy ensemble selection with replacement (Caruana et al. 2004, "Ensemble Selection from
    Libraries of Models") on the models' validation outputs, the first being the best model's, from
    which it starts.

    It is done on resamples of each four fifths of the items, and the weights are the mean. Whether
    the ensemble is better is seen on the fifths that were left out: None unless it beats the best
    model there by more than chance, or is no worse by the metric and beats it by the `finer` one.
    None also for fewer than 50 items, and where `seconds` do not suffice.
    """
    count = len(target)
    if count < MIN_ITEMS:
        return None
    generator = np.random.default_rng(seed)
    folds = np.array_split(generator.permutation(count), FOLDS)
    outputs = outputs[: _affordable(metric, target, outputs[0], seconds)]
    if len(outputs) < 2:
        return None
    weights = np.zeros(len(outputs))
    left_out = np.empty(outputs[0].shape)
    for fold in folds:
        others = np.setdiff1d(np.arange(count), fold)
        drawn = [generator.choice(others, min(len(others), MAX_ROWS)) for _ in range(BAGS)]
        bags = [_greedy(metric, target[rows], [array[rows] for array in outputs]) for rows in drawn]
        of_fold = np.mean(bags, axis=0)
        left_out[fold] = weighted_mean([array[fold] for array in outputs], of_fold.tolist())
        weights += of_fold / FOLDS
    weights[weights < LEAST_WEIGHT] = 0.0
    weights /= weights.sum()
    if np.count_nonzero(weights) < 2:
        return None
    if not _is_better(metric, finer, target, left_out, outputs[0], seed=seed):
        return None
    return Ensemble(tuple(weights.tolist()), left_out)


def _is_better(
    metric: Metric, finer: Metric | None, target: Array, outputs: Array, than: Array, *, seed: int
) -> bool:
    if beats_by_more_than_chance(metric, target, outputs, than, seed=seed):
        return True
    if finer is None or metric.better(
        metric.compute(target, than), metric.compute(target, outputs)
    ):
        return False
    return beats_by_more_than_chance(finer, target, outputs, than, seed=seed)


def _greedy(metric: Metric, target: Array, outputs: Sequence[Array]) -> Array:
    """Weights [models]: in each round the model is added that helps most, of equals the first; what
    counts is the best round, of equals the earliest."""
    counts = np.zeros(len(outputs))
    counts[0] = 1
    total = outputs[0].astype(np.float64)
    best, best_counts = metric.compute(target, total), counts.copy()
    for size in range(2, ROUNDS + 1):
        scores = [metric.compute(target, (total + array) / size) for array in outputs]
        place = 0
        for index, score in enumerate(scores):
            if metric.better(score, scores[place]):
                place = index
        total += outputs[place]
        counts[place] += 1
        if metric.better(scores[place], best):
            best, best_counts = scores[place], counts.copy()
    return np.asarray(best_counts / best_counts.sum())


def _affordable(metric: Metric, target: Array, outputs: Array, seconds: float) -> int:
    """How many models can be selected from in so many seconds."""
    rows = slice(0, MAX_ROWS)
    began = time.perf_counter()
    metric.compute(target[rows], outputs[rows])
    one = time.perf_counter() - began
    judging = 4 * RESAMPLES if len(target) <= MAX_ITEMS else 4
    return int(min(1e6, max(0.0, (seconds / one - judging) / (FOLDS * BAGS * ROUNDS))))
