"""Measures of quality, by their names in scikit-learn, which computes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Targets = NDArray[Any]
Outputs = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Metric:
    """A measure over a split.

    `compute(targets, outputs)` takes the encoded targets of N items and the activated outputs
    [N, output size] and returns a finite float where it is defined, else NaN.
    """

    name: str
    higher_is_better: bool
    target_types: tuple[str, ...]
    compute: Callable[[Targets, Outputs], float]

    def better(self, score: float, than: float) -> bool:
        """Whether `score` beats `than`; NaN never does and anything beats NaN."""
        if np.isnan(score):
            return False
        if np.isnan(than):
            return True
        return score > than if self.higher_is_better else score < than


def _accuracy(targets: Targets, outputs: Outputs) -> float:
    return float(np.mean(outputs.argmax(axis=1) == targets))


def _balanced_accuracy(targets: Targets, outputs: Outputs) -> float:
    from sklearn.metrics import recall_score

    return float(
        recall_score(
            targets,
            outputs.argmax(axis=1),
            labels=np.unique(targets),
            average="macro",
            zero_division=0,
        )
    )


def _macro_f1(targets: Targets, outputs: Outputs) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(targets, outputs.argmax(axis=1), average="macro", zero_division=0))


def _log_loss(targets: Targets, outputs: Outputs) -> float:
    from sklearn.metrics import log_loss

    clipped = np.clip(outputs.astype(np.float64), 1e-7, 1.0)
    clipped /= clipped.sum(axis=1, keepdims=True)
    return float(log_loss(targets, clipped, labels=np.arange(outputs.shape[1])))


def _roc_auc(targets: Targets, outputs: Outputs) -> float:
    """One-vs-rest and macro-averaged over the classes that occur, for more than two classes."""
    from sklearn.metrics import roc_auc_score

    if outputs.shape[1] == 2:
        if len(np.unique(targets)) < 2:
            return float("nan")
        return float(roc_auc_score(targets, outputs[:, 1]))
    present = [c for c in range(outputs.shape[1]) if 0 < np.sum(targets == c) < len(targets)]
    if not present:
        return float("nan")
    return float(np.mean([roc_auc_score(targets == c, outputs[:, c]) for c in present]))


def _rmse(targets: Targets, outputs: Outputs) -> float:
    return float(np.sqrt(np.mean((outputs[:, 0].astype(np.float64) - targets) ** 2)))


def _mae(targets: Targets, outputs: Outputs) -> float:
    return float(np.mean(np.abs(outputs[:, 0].astype(np.float64) - targets)))


def _r2(targets: Targets, outputs: Outputs) -> float:
    from sklearn.metrics import r2_score

    if len(targets) < 2:
        return float("nan")
    return float(r2_score(targets, outputs[:, 0]))


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", True, ("category",), _accuracy),
        Metric("balanced_accuracy", True, ("category",), _balanced_accuracy),
        Metric("macro_f1", True, ("category",), _macro_f1),
        Metric("roc_auc", True, ("category",), _roc_auc),
        Metric("log_loss", False, ("category",), _log_loss),
        Metric("rmse", False, ("regression",), _rmse),
        Metric("mae", False, ("regression",), _mae),
        Metric("r2", True, ("regression",), _r2),
    )
}
