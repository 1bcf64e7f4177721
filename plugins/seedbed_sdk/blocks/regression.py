"""A number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from seedbed_sdk.blocks.base import Array, Encoded, ItemProblem, Prediction, Regression, TargetBlock
from seedbed_sdk.errors import InvalidArgument

if TYPE_CHECKING:
    import pandas as pd
    import torch

CONFIDENCE = 0.9
MIN_A_BIN = 40
MAX_BINS = 20


class RegressionBlock(TargetBlock):
    """A column of numbers. Encoded as float32 in its own unit; networks put out standard scores,
    which `activate` turns back into the unit.

    Intervals are split-conformal (Lei et al. 2018, "Distribution-Free Predictive Inference for
    Regression"): as wide as the residuals' quantile on the validation split. Where that split has
    80 items or more, the quantile is taken among items with a similar predicted value (Boström and
    Johansson 2020, "Mondrian conformal regressors"), so that large values may have wider intervals
    than small ones. `half_width` is the quantile of all; `bins` are the lowest predicted value and
    the half width of each range of values, rising, and empty where there is one range only."""

    type: ClassVar[str] = "regression"
    metrics: ClassVar[tuple[str, ...]] = ("rmse", "mae", "r2")
    default_metric: ClassVar[str] = "rmse"
    prediction_kind: ClassVar[str] = "regression"
    averages: ClassVar[bool] = True

    def __init__(
        self,
        column: str,
        mean: float = 0.0,
        scale: float = 1.0,
        half_width: float | None = None,
        bins: tuple[tuple[float, float], ...] = (),
    ) -> None:
        self.column = column
        self.mean = mean
        self.scale = scale
        self.half_width = half_width
        self.bins = bins

    def fit(self, items: pd.DataFrame) -> None:
        values = self._numbers(items)
        finite = values[np.isfinite(values)]
        if finite.size == 0:
            raise InvalidArgument(
                "job.target",
                f"column {self.column!r} has no number in any of {len(items)} rows; "
                "name a column of numbers, or predict classes instead",
                reason="TARGET_ALL_MISSING",
            )
        if finite.min() == finite.max():
            raise InvalidArgument(
                "job.target",
                f"column {self.column!r} is {finite[0]:g} in all of {finite.size} rows; "
                "at least two different numbers are needed",
                reason="TARGET_CONSTANT",
            )
        self.mean = float(finite.mean())
        self.scale = float(finite.std())

    def encode(self, items: pd.DataFrame) -> Encoded:
        values = self._numbers(items)
        bad = np.flatnonzero(~np.isfinite(values))
        problems = [
            ItemProblem(
                i,
                f"row {items.index[i]}",
                f"no finite number in column {self.column!r}: {items[self.column].iloc[i]!r}",
            )
            for i in bad.tolist()
        ]
        return Encoded(
            {"target": np.where(np.isfinite(values), values, 0.0).astype(np.float32)}, problems
        )

    def _numbers(self, items: pd.DataFrame) -> Array:
        import pandas as pd

        numbers = pd.to_numeric(items[self.column], errors="coerce")
        return numbers.to_numpy(dtype=np.float64, na_value=np.nan)

    @property
    def output_size(self) -> int:
        return 1

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.output_size,)

    def loss(
        self,
        raw: torch.Tensor,
        target: torch.Tensor,
        *,
        label_smoothing: float = 0.0,  # noqa: ARG002
    ) -> torch.Tensor:
        """Mean squared error of the standard scores."""
        import torch.nn.functional as F

        return F.mse_loss(raw[:, 0], (target - self.mean) / self.scale)

    def activate(self, raw: torch.Tensor) -> torch.Tensor:
        return raw.float() * self.scale + self.mean

    def stratify(self, encoded: Array) -> Array | None:  # noqa: ARG002
        return None

    def calibrate(self, target: Array, outputs: Array) -> None:
        predicted = outputs[:, 0].astype(np.float64)
        residuals = np.abs(predicted - target)
        self.half_width = _conformal(residuals)
        self.bins = ()
        count = min(MAX_BINS, len(residuals) // MIN_A_BIN)
        if count < 2:
            return
        edges = np.unique(np.quantile(predicted, np.arange(1, count) / count))
        places = np.searchsorted(edges, predicted, side="right")
        widths = [_conformal(residuals[places == place]) for place in range(len(edges) + 1)]
        # Equal predictions may leave a range with too few items for a quantile of its own.
        known = [self.half_width if width is None else width for width in widths]
        self.bins = tuple(
            (float(start), float(width))
            for start, width in zip([predicted.min(), *edges], known, strict=True)
            if width is not None
        )

    def decode(self, outputs: Array) -> list[Prediction]:
        values = outputs[:, 0].astype(np.float64)
        if self.half_width is None:
            return [Regression(float(value)) for value in values]
        widths = np.full(len(values), self.half_width)
        if self.bins:
            starts, by_bin = np.array(self.bins).T
            widths = by_bin[np.searchsorted(starts[1:], values, side="right")]
        return [
            Regression(value, value - width, value + width, CONFIDENCE)
            for value, width in zip(values.tolist(), widths.tolist(), strict=True)
        ]

    def state(self) -> dict[str, Any]:
        return {
            "column": self.column,
            "mean": self.mean,
            "scale": self.scale,
            "half_width": self.half_width,
            "bins": [list(part) for part in self.bins],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> RegressionBlock:
        return cls(
            state["column"],
            state["mean"],
            state["scale"],
            state["half_width"],
            tuple((start, width) for start, width in state["bins"]),
        )


def _conformal(residuals: Array) -> float | None:
    """The half width that covers a share `CONFIDENCE` of new items; None for too few residuals."""
    rank = np.ceil((residuals.size + 1) * CONFIDENCE)
    if rank > residuals.size:
        return None
    return float(np.partition(residuals, int(rank) - 1)[int(rank) - 1])
