"""Measures over several targets at once, as `MultiTargetBlock` encodes them and puts them out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Targets = NDArray[Any]
Outputs = NDArray[Any]
Compute = Callable[[Targets, Outputs], float]


def mean_over_targets(compute: Compute, *, classes: bool) -> Compute:
    """`compute` for a single target, and the mean of it over the targets of one kind where the
    outputs are those of several, [N, T, 1 + C]; NaN where no target is of that kind."""

    def mean(targets: Targets, outputs: Outputs) -> float:
        if outputs.ndim != 3:
            return compute(targets, outputs)
        scores = [
            compute(true, predicted)
            for of_classes, true, predicted in each_target(targets, outputs)
            if of_classes == classes
        ]
        return float(np.mean(scores)) if scores else float("nan")

    return mean


def mean_score(accuracy: Compute, r2: Compute) -> Compute:
    """The mean over several targets of the accuracy of classes and the R² of numbers."""

    def mean(targets: Targets, outputs: Outputs) -> float:
        scores = [
            (accuracy if of_classes else r2)(true, predicted)
            for of_classes, true, predicted in each_target(targets, outputs)
        ]
        return float(np.mean(scores))

    return mean


def each_target(targets: Targets, outputs: Outputs) -> Iterator[tuple[bool, Targets, Outputs]]:
    """For each target whether it has classes, its encoded values [N] and its outputs [N, C] or
    [N, 1]. Only classes have probabilities, and these add up to 1."""
    for place in range(outputs.shape[1]):
        probabilities = outputs[:, place, 1:]
        if probabilities.any():
            yield True, targets[:, place].astype(np.int64), probabilities
        else:
            yield False, targets[:, place], outputs[:, place, :1]
