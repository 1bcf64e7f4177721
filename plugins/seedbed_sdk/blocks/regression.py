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


class RegressionBlock(TargetBlock):
    """A column of numbers. Encoded as float32 in its own unit; networks put out standard scores,
    which `activate` turns back into the unit. Intervals are split-conformal (Lei et al. 2018,
    "Distribution-Free Predictive Inference for Regression"): the residuals' quantile on the
    validation split."""

    type: ClassVar[str] = "regression"
    metrics: ClassVar[tuple[str, ...]] = ("rmse", "mae", "r2")
    default_metric: ClassVar[str] = "rmse"
    prediction_kind: ClassVar[str] = "regression"

    def __init__(
        self, column: str, mean: float = 0.0, scale: float = 1.0, half_width: float | None = None
    ) -> None:
        self.column = column
        self.mean = mean
        self.scale = scale
        self.half_width = half_width

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
        residuals = np.abs(outputs[:, 0].astype(np.float64) - target)
        rank = np.ceil((residuals.size + 1) * CONFIDENCE) / residuals.size
        self.half_width = float(np.quantile(residuals, rank)) if rank <= 1.0 else None

    def decode(self, outputs: Array) -> list[Prediction]:
        width = self.half_width
        if width is None:
            return [Regression(float(value)) for value in outputs[:, 0]]
        return [
            Regression(float(value), float(value) - width, float(value) + width, CONFIDENCE)
            for value in outputs[:, 0]
        ]

    def state(self) -> dict[str, Any]:
        return {
            "column": self.column,
            "mean": self.mean,
            "scale": self.scale,
            "half_width": self.half_width,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> RegressionBlock:
        return cls(state["column"], state["mean"], state["scale"], state["half_width"])
