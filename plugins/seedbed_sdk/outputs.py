"""Whether a model's outputs are what its target needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from seedbed_sdk.blocks.base import TargetBlock

# Sums of float32 and float16 probabilities are off by less.
TOLERANCE = 0.01


def check_outputs(target: TargetBlock, outputs: object, count: int) -> None:
    """Raises UnusableOutputs where activated outputs for `count` items are no answers for the
    target, and Diverged where they are not finite."""
    from seedbed_sdk.trainer import Diverged, UnusableOutputs

    if not isinstance(outputs, np.ndarray) or outputs.dtype.kind not in "fiub":
        found = outputs.dtype if isinstance(outputs, np.ndarray) else type(outputs).__name__
        raise UnusableOutputs(f"they are {found}, and an array of numbers is needed")
    wanted = target.output_shape
    fits = outputs.ndim > 1 and len(outputs) == count
    if not fits or (wanted is not None and outputs.shape[1:] != wanted):
        shape = ", ".join(map(str, (count, *(wanted or ("...",)))))
        raise UnusableOutputs(f"they have the shape {outputs.shape}, and ({shape}) is needed")
    if not np.isfinite(outputs).all():
        raise Diverged("the outputs are not finite")
    if target.prediction_kind in ("classification", "multi_label"):
        _check_probabilities(outputs, adds_up=target.prediction_kind == "classification")


def _check_probabilities(outputs: np.ndarray, *, adds_up: bool) -> None:
    from seedbed_sdk.trainer import UnusableOutputs

    if not outputs.size:
        return
    low, high = float(outputs.min()), float(outputs.max())
    if low < -TOLERANCE or high > 1.0 + TOLERANCE:
        raise UnusableOutputs(
            f"they are from {low:.3g} to {high:.3g}, and probabilities of the classes are needed, "
            "from 0 to 1"
        )
    sums = outputs.sum(axis=1, dtype=np.float64)
    if adds_up and np.abs(sums - 1.0).max() > TOLERANCE:
        raise UnusableOutputs(
            f"those of an item add up to {sums.min():.3g} to {sums.max():.3g}, and probabilities "
            "of the classes are needed, which add up to 1"
        )
