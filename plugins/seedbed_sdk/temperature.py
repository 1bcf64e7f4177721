"""Probabilities that are as sure as they are right: temperature scaling (Guo et al. 2017, "On
Calibration of Modern Neural Networks")."""

from __future__ import annotations

import numpy as np

from seedbed_sdk.blocks.base import Array

LEAST, MOST = 0.2, 5.0
MIN_ITEMS = 50
SMALLEST = 1e-7


def scaled(probabilities: Array, temperature: float) -> Array:
    """Probabilities [N, classes] with their logarithms divided by the temperature, as float64 with
    rows that add up to 1: above 1 less sure, below 1 surer."""
    logits = np.log(np.clip(probabilities.astype(np.float64), SMALLEST, 1.0)) / temperature
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def fitted_temperature(target: Array, probabilities: Array) -> float:
    """The temperature, 0.2 to 5, with the least log loss on class numbers [N].

    1 where that is no gain: the temperature of each half of the items has to lower the log loss of
    the other half by more than a standard error of the difference over all items. Also 1 for fewer
    than 50 items.
    """
    count = len(target)
    if count < MIN_ITEMS:
        return 1.0
    order = np.random.default_rng(0).permutation(count)
    halves = order[: count // 2], order[count // 2 :]
    gains = [
        _losses(target[judged], probabilities[judged], 1.0)
        - _losses(
            target[judged], probabilities[judged], _least(target[taught], probabilities[taught])
        )
        for taught, judged in (halves, halves[::-1])
    ]
    gain = np.concatenate(gains)
    if gain.mean() <= gain.std() / np.sqrt(count):
        return 1.0
    return _least(target, probabilities)


def _least(target: Array, probabilities: Array) -> float:
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log: float(_losses(target, probabilities, float(np.exp(log))).mean()),
        bounds=(np.log(LEAST), np.log(MOST)),
        method="bounded",
    )
    return float(np.exp(found.x))


def _losses(target: Array, probabilities: Array, temperature: float) -> Array:
    """The log loss of each item."""
    chosen = scaled(probabilities, temperature)[np.arange(len(target)), target]
    return np.asarray(-np.log(np.maximum(chosen, SMALLEST)))
