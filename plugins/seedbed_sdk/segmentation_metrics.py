"""Measures of maps of classes, each a function of sums over items.

Targets are class numbers, uint8 [N, H, W], with `VOID` where a pixel is not to be judged; outputs
are class numbers of the same shape. Classes that occur in neither are left out of the means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.integer[Any]]
Counts = NDArray[np.float64]

VOID = 255
TARGET_TYPES = ("mask",)


def pixel_counts(targets: Maps, outputs: Maps) -> Counts:
    """For each item and class the pixels on which both agree, those that are so, and those that are
    said to be so: float64 [N, 3, classes]."""
    judged = targets != VOID
    bins = 1 + max(int(outputs.max(initial=0)), int(targets.max(initial=0, where=judged)))
    counts = np.zeros((len(targets), 3, bins))
    for row, (truth, said, keep) in enumerate(zip(targets, outputs, judged, strict=True)):
        truth, said = truth[keep], said[keep]
        for kind, numbers in enumerate((truth[truth == said], truth, said)):
            counts[row, kind] = np.bincount(numbers, minlength=bins)
    return counts


def iou_by_class(targets: Maps, outputs: Maps, classes: int) -> Counts:
    """Intersection over union of each class over all pixels, float64 [classes]; NaN for a class
    that does not occur."""
    scores = np.full(classes, np.nan)
    found = _iou(pixel_counts(targets, outputs).sum(axis=0))
    scores[: len(found)] = found[:classes]
    return scores


def _iou(counts: Counts) -> Counts:
    agreed, true, said = counts
    return _ratio(agreed, true + said - agreed)


def _mean_iou(counts: Counts) -> float:
    return _mean(_iou(counts))


def _dice(counts: Counts) -> float:
    agreed, true, said = counts
    return _mean(_ratio(2.0 * agreed, true + said))


def _pixel_accuracy(counts: Counts) -> float:
    agreed, true, _ = counts
    total = true.sum()
    return float(agreed.sum() / total) if total else float("nan")


def _ratio(part: Counts, whole: Counts) -> Counts:
    ratio = np.full(part.shape, np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _mean(values: Counts) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _compute(targets: Maps, outputs: Maps, *, finish: Callable[[Counts], float]) -> float:
    return finish(pixel_counts(targets, outputs).sum(axis=0))


FINISH: Mapping[str, Callable[[Counts], float]] = {
    "mean_iou": _mean_iou,
    "dice": _dice,
    "pixel_accuracy": _pixel_accuracy,
}
COMPUTE: Mapping[str, Callable[[Maps, Maps], float]] = {
    name: partial(_compute, finish=finish) for name, finish in FINISH.items()
}
