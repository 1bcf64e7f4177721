"""Measures of rankings. Each is the mean over users of what it says of one of them.

Targets are the codes of the items held out of each user, [U, M] padded with -1, with at least one
for every user; outputs are the codes of the items ranked for them, best first, [U, R] padded
with -1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.integer[Any]]
Values = NDArray[np.float64]

K = 10
USERS_AT_ONCE = 1_000
TARGET_TYPES = ("interaction",)


def hits(targets: Codes, outputs: Codes, k: int = K) -> NDArray[np.bool_]:
    """Whether each of the first `k` ranked items was held out, bool [U, k]."""
    found = np.zeros((len(targets), k), dtype=np.bool_)
    width = min(k, outputs.shape[1])
    for start in range(0, len(targets), USERS_AT_ONCE):
        part = slice(start, start + USERS_AT_ONCE)
        ranked = outputs[part, :width]
        same = (ranked[:, :, None] == targets[part, None, :]).any(axis=2)
        found[part, :width] = same & (ranked >= 0)
    return found


def recall(targets: Codes, outputs: Codes) -> Values:
    """Hits among the first 10, of the held-out items or of 10 if there are more: a perfect ranking
    has 1 for every user (Liang et al. 2018, "Variational Autoencoders for Collaborative
    Filtering")."""
    return np.asarray(hits(targets, outputs).sum(axis=1) / np.minimum(_held_out(targets), K))


def precision(targets: Codes, outputs: Codes) -> Values:
    """The share of the first 10 that are hits."""
    return np.asarray(hits(targets, outputs).sum(axis=1) / K)


def ndcg(targets: Codes, outputs: Codes) -> Values:
    """Discounted gain of the hits among the first 10, by that of a perfect ranking."""
    gains = 1.0 / np.log2(np.arange(K) + 2.0)
    best = np.cumsum(gains)[np.minimum(_held_out(targets), K) - 1]
    return np.asarray((hits(targets, outputs) * gains).sum(axis=1) / best)


def average_precision(targets: Codes, outputs: Codes) -> Values:
    """The mean of the precision at each hit among the first 10; missed ones count as 0."""
    found = hits(targets, outputs)
    precisions = np.cumsum(found, axis=1) / np.arange(1, K + 1)
    return np.asarray((precisions * found).sum(axis=1) / np.minimum(_held_out(targets), K))


BY_NAME: Mapping[str, Callable[[Codes, Codes], Values]] = {
    "recall_at_10": recall,
    "ndcg_at_10": ndcg,
    "precision_at_10": precision,
    "map_at_10": average_precision,
}


def mean_of(
    per_user: Callable[[Codes, Codes], Values],
) -> tuple[
    Callable[[Codes, Codes], float],
    Callable[[Codes, Codes], Values],
    Callable[[Values], float],
]:
    """The mean over users as the `compute`, `statistics` and `finish` of a Metric."""

    def compute(targets: Codes, outputs: Codes) -> float:
        return float(np.mean(per_user(targets, outputs))) if len(targets) else float("nan")

    def statistics(targets: Codes, outputs: Codes) -> Values:
        values = per_user(targets, outputs)
        return np.stack([values, np.ones_like(values)], axis=1)

    def finish(total: Values) -> float:
        return float(total[0] / total[1]) if total[1] else float("nan")

    return compute, statistics, finish


def _held_out(targets: Codes) -> NDArray[np.int64]:
    return np.asarray(np.maximum((targets >= 0).sum(axis=1), 1))
