"""Measures of quality, by their names in scikit-learn, which computes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
    the sum into the measure; resampling items is then cheap.
    """

    name: str
    higher_is_better: bool
    target_types: tuple[str, ...]
    compute: Callable[[Targets, Outputs], float]
    statistics: Callable[[Targets, Outputs], NDArray[np.float64]] | None = None
    finish: Callable[[NDArray[np.float64]], float] | None = None

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
    from sklearn.metrics import recall_score

    true, predicted = _labels(targets, outputs)
    return float(
        recall_score(true, predicted, labels=np.unique(true), average="macro", zero_division=0)
    )


def _f1(targets: Targets, outputs: Outputs, average: str) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(*_labels(targets, outputs), average=average, zero_division=0))


def _hamming_loss(targets: Targets, outputs: Outputs) -> float:
    true, predicted = _labels(targets, outputs)
    return float(np.mean(true != predicted))


def _log_loss(targets: Targets, outputs: Outputs) -> float:
    from sklearn.metrics import log_loss

    clipped = np.clip(outputs.astype(np.float64), 1e-7, 1.0)
    if targets.ndim == 2:
        clipped = np.minimum(clipped, 1.0 - 1e-7)
        return float(-np.mean(np.where(targets > THRESHOLD, np.log(clipped), np.log1p(-clipped))))
    clipped /= clipped.sum(axis=1, keepdims=True)
    return float(log_loss(targets, clipped, labels=np.arange(outputs.shape[1])))


def _roc_auc(targets: Targets, outputs: Outputs) -> float:
    """One-vs-rest and macro-averaged over the classes that occur, unless there are two classes."""
    from sklearn.metrics import roc_auc_score

    if targets.ndim == 1 and outputs.shape[1] == 2:
        if len(np.unique(targets)) < 2:
            return float("nan")
        return float(roc_auc_score(targets, outputs[:, 1]))
    return _mean_over_classes(roc_auc_score, targets, outputs)


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

METRICS: Mapping[str, Metric] = {
    metric.name: metric
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
