"""The scores of the test data, as seedbed defines them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Array = np.ndarray


def accuracy(truth: Array, said: Array) -> float:
    """The share of equal ones."""
    return float(np.mean(np.asarray(truth) == np.asarray(said)))


def rmse(truth: Array, said: Array) -> float:
    """Root of the mean squared difference."""
    return float(np.sqrt(np.mean((np.asarray(truth) - np.asarray(said)) ** 2)))


def macro_f1(truth: Array, said: Array) -> float:
    """The mean over the classes, each alike, of F1."""
    scores = []
    for kind in np.unique(truth):
        right = np.sum((truth == kind) & (said == kind))
        scores.append(2 * right / (np.sum(truth == kind) + np.sum(said == kind)))
    return float(np.mean(scores))


def mean_iou(truth: Array, said: Array, void: int, classes: int) -> float:
    """The mean over classes of intersection by union over all pixels [N, H, W] that are not void;
    classes that occur in neither are left out."""
    judged = truth != void
    pairs = truth[judged].astype(np.int64) * classes + said[judged]
    counts = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    union = counts.sum(0) + counts.sum(1) - counts.diagonal()
    return float(np.mean(counts.diagonal()[union > 0] / union[union > 0]))


def recall_at_10(held_out: Sequence[set[int]], ranked: Array) -> float:
    """The mean over users of hits among the first 10 of `ranked` [U, R], by the number of items
    held out of the user or 10 if there are more (Liang et al. 2018)."""
    shares = [
        len(wanted & set(row[:10])) / min(10, len(wanted))
        for wanted, row in zip(held_out, ranked.tolist(), strict=True)
    ]
    return float(np.mean(shares))
