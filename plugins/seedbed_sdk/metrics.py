"""Measures of quality, by their names in scikit-learn and to the same values. Those that are
resampled often are computed here, since for few items its checks take longer than the measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedbed_sdk import ranking_metrics, segmentation_metrics
from seedbed_sdk.target_metrics import mean_over_targets, mean_score

Targets = NDArray[Any]
Outputs = NDArray[Any]
THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Metric:
    """A measure over a split.

    `compute(targets, outputs)` takes the encoded targets of N items and the activated outputs
    [N, ...] and returns a finite float where it is defined, else NaN. For a measure that depends on
    sums over items alone, `statistics` gives what is summed, float64 [N, ...], and `finish` turns
    the sum into the measure; resampling items is then cheap. `best` is the value that cannot be
    beaten, or None where there is none or it is not known.
    """

    name: str
    higher_is_better: bool
    target_types: tuple[str, ...]
    compute: Callable[[Targets, Outputs], float]
    statistics: Callable[[Targets, Outputs], NDArray[np.float64]] | None = None
    finish: Callable[[NDArray[np.float64]], float] | None = None
    best: float | None = None

    def better(self, score: float, than: float) -> bool:
        """Whether `score` beats `than`; NaN never does and anything beats NaN."""
        if np.isnan(score):
            return False
        if np.isnan(than):
            return True
        return score > than if self.higher_is_better else score < than


def _labels(targets: Targets, outputs: Outputs) -> tuple[Targets, Targets]:
    """True and predicted class numbers [N]; for any number of classes 0 and 1 [N, classes]."""
    if targets.ndim == 2:
        return targets > THRESHOLD, outputs > THRESHOLD
    return targets, outputs.argmax(axis=1)


def _accuracy(targets: Targets, outputs: Outputs) -> float:
    """For any number of classes the share of items whose labels are all right."""
    true, predicted = _labels(targets, outputs)
    right = true == predicted
    return float(np.mean(right.all(axis=1) if right.ndim == 2 else right))


def _balanced_accuracy(targets: Targets, outputs: Outputs) -> float:
    true, predicted = _labels(targets, outputs)
    count = np.bincount(true)
    right = np.bincount(true[true == predicted], minlength=len(count))
    return float(np.mean(right[count > 0] / count[count > 0]))


def _f1(targets: Targets, outputs: Outputs, average: str) -> float:
    """For one class an item over the classes that occur or are predicted."""
    true, predicted = _labels(targets, outputs)
    if targets.ndim == 2:
        hits, total = (true & predicted).sum(axis=0), true.sum(axis=0) + predicted.sum(axis=0)
    else:
        classes = outputs.shape[1]
        hits = np.bincount(true[true == predicted], minlength=classes)
        total = np.bincount(true, minlength=classes) + np.bincount(predicted, minlength=classes)
        hits, total = hits[total > 0], total[total > 0]
    if average == "micro":
        hits, total = hits.sum(keepdims=True), total.sum(keepdims=True)
    return float(np.mean(2.0 * hits / np.maximum(total, 1)))


def _hamming_loss(targets: Targets, outputs: Outputs) -> float:
    true, predicted = _labels(targets, outputs)
    return float(np.mean(true != predicted))


def _log_loss(targets: Targets, outputs: Outputs) -> float:
    clipped = np.clip(outputs.astype(np.float64), 1e-7, 1.0)
    if targets.ndim == 2:
        clipped = np.minimum(clipped, 1.0 - 1e-7)
        return float(-np.mean(np.where(targets > THRESHOLD, np.log(clipped), np.log1p(-clipped))))
    right = clipped[np.arange(len(targets)), targets] / clipped.sum(axis=1)
    return float(-np.mean(np.log(right)))


def _roc_auc(targets: Targets, outputs: Outputs) -> float:
    """One-vs-rest and macro-averaged over the classes that occur, unless there are two classes."""
    if targets.ndim == 1 and outputs.shape[1] == 2:
        if len(np.unique(targets)) < 2:
            return float("nan")
        return _area(targets == 1, outputs[:, 1])
    return _mean_over_classes(_area, targets, outputs)


def _area(member: Targets, scores: Outputs) -> float:
    """The share of pairs of a member and another in which the member has the higher score; equal
    scores are half."""
    inside, others = np.sort(scores[member]), np.sort(scores[~member])
    below = np.searchsorted(others, inside, "left").sum()
    not_above = np.searchsorted(others, inside, "right").sum()
    return float((below + not_above) / (2.0 * len(inside) * len(others)))


def _average_precision(targets: Targets, outputs: Outputs) -> float:
    """Macro-averaged over the classes that occur."""
    from sklearn.metrics import average_precision_score

    return _mean_over_classes(average_precision_score, targets, outputs)


def _mean_over_classes(
    measure: Callable[[Targets, Outputs], float], targets: Targets, outputs: Outputs
) -> float:
    classes = np.arange(outputs.shape[1])
    member = targets > THRESHOLD if targets.ndim == 2 else targets[:, None] == classes
    present = [c for c in classes if 0 < np.count_nonzero(member[:, c]) < len(targets)]
    if not present:
        return float("nan")
    return float(np.mean([measure(member[:, c], outputs[:, c]) for c in present]))


def _rmse(targets: Targets, outputs: Outputs) -> float:
    return float(np.sqrt(np.mean((outputs[:, 0].astype(np.float64) - targets) ** 2)))


def _mae(targets: Targets, outputs: Outputs) -> float:
    return float(np.mean(np.abs(outputs[:, 0].astype(np.float64) - targets)))


def _r2(targets: Targets, outputs: Outputs) -> float:
    from sklearn.metrics import r2_score

    if len(targets) < 2:
        return float("nan")
    return float(r2_score(targets, outputs[:, 0]))


CATEGORIES = ("category", "multi_category")
_of_classes = partial(mean_over_targets, classes=True)
_of_numbers = partial(mean_over_targets, classes=False)

# Shares and correlations reach 1, losses and errors 0.
METRICS: Mapping[str, Metric] = {
    metric.name: replace(metric, best=1.0 if metric.higher_is_better else 0.0)
    for metric in (
        Metric("accuracy", True, CATEGORIES, _of_classes(_accuracy)),
        Metric("balanced_accuracy", True, ("category",), _of_classes(_balanced_accuracy)),
        Metric("macro_f1", True, CATEGORIES, _of_classes(partial(_f1, average="macro"))),
        Metric("micro_f1", True, ("multi_category",), partial(_f1, average="micro")),
        Metric("average_precision", True, ("multi_category",), _average_precision),
        Metric("roc_auc", True, CATEGORIES, _of_classes(_roc_auc)),
        Metric("log_loss", False, CATEGORIES, _of_classes(_log_loss)),
        Metric("hamming_loss", False, ("multi_category",), _hamming_loss),
        Metric("rmse", False, ("regression", "rating"), _of_numbers(_rmse)),
        Metric("mae", False, ("regression", "rating"), _of_numbers(_mae)),
        Metric("r2", True, ("regression", "rating"), _of_numbers(_r2)),
        Metric("mean_score", True, ("multi_target",), mean_score(_accuracy, _r2)),
        *(
            Metric(name, True, ranking_metrics.TARGET_TYPES, *ranking_metrics.mean_of(per_user))
            for name, per_user in ranking_metrics.BY_NAME.items()
        ),
        *(
            Metric(
                name,
                True,
                segmentation_metrics.TARGET_TYPES,
                segmentation_metrics.COMPUTE[name],
                segmentation_metrics.pixel_counts,
                finish,
            )
            for name, finish in segmentation_metrics.FINISH.items()
        ),
    )
}
