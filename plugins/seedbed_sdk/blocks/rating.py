"""How much a user likes an item, on a scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from seedbed_sdk.blocks.base import Array, Encoded, ItemProblem, Prediction, Regression
from seedbed_sdk.blocks.regression import RegressionBlock

if TYPE_CHECKING:
    import pandas as pd
    import torch

MANY_DISTINCT = 101
FAR_OUT = 3.0
RARE = 0.01


class RatingBlock(RegressionBlock):
    """A column of ratings. As a number, but within a scale from `low` to `high`: what the training
    ratings span unless `given` is a scale, outside of which a rating cannot be used. Outputs are
    cut off at the ends of the scale."""

    type: ClassVar[str] = "rating"

    def __init__(self, column: str, given: tuple[float, float] | None = None) -> None:
        super().__init__(column)
        self.given = given
        self.low, self.high = given or (-np.inf, np.inf)

    def fit(self, items: pd.DataFrame) -> None:
        if self.given is not None:
            values = self._numbers(items)
            items = items[~((values < self.low) | (values > self.high))]
        super().fit(items)
        if self.given is None:
            values = self._numbers(items)
            finite = values[np.isfinite(values)]
            self.low, self.high = float(finite.min()), float(finite.max())

    def encode(self, items: pd.DataFrame) -> Encoded:
        encoded = super().encode(items)
        if self.given is None:
            return encoded
        values = self._numbers(items)
        outside = np.flatnonzero(~np.isnan(values) & ((values < self.low) | (values > self.high)))
        problems = [
            ItemProblem(
                i,
                f"row {items.index[i]}",
                f"rating {values[i]:g} is outside of the scale {self.low:g} to {self.high:g}",
            )
            for i in outside.tolist()
        ]
        return Encoded(encoded.arrays, [*encoded.problems, *problems])

    def activate(self, raw: torch.Tensor) -> torch.Tensor:
        return super().activate(raw).clamp(self.low, self.high)

    def decode(self, outputs: Array) -> list[Prediction]:
        return [self._within(p) for p in super().decode(outputs) if isinstance(p, Regression)]

    def _within(self, prediction: Regression) -> Regression:
        if prediction.lower is None or prediction.upper is None:
            return prediction
        lower, upper = max(prediction.lower, self.low), min(prediction.upper, self.high)
        return Regression(prediction.value, lower, upper, prediction.confidence)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "low": self.low, "high": self.high, "given": self.given}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> RatingBlock:
        given = state["given"]
        block = cls(state["column"], None if given is None else (given[0], given[1]))
        block.mean, block.scale = state["mean"], state["scale"]
        block.half_width = state["half_width"]
        block.bins = tuple((start, width) for start, width in state["bins"])
        block.low, block.high = state["low"], state["high"]
        return block


def doubtful_scale(values: Array) -> str:
    """Why numbers do not look like ratings on one scale, or nothing: many different values, or a
    few far away from the rest, such as 99 for not rated."""
    finite = values[np.isfinite(values)]
    distinct, counts = np.unique(finite, return_counts=True)
    if len(distinct) < 3:
        return ""
    if len(distinct) > MANY_DISTINCT:
        return (
            f"{len(distinct)} different values from {distinct[0]:g} to {distinct[-1]:g} look like "
            "counts or amounts and not like ratings on a scale"
        )
    common = distinct[counts >= RARE * len(finite)]
    for end, rest in ((distinct[0], distinct[1:]), (distinct[-1], distinct[:-1])):
        span = rest[-1] - rest[0]
        if len(common) > 1 and min(abs(end - rest[0]), abs(end - rest[-1])) > FAR_OUT * span:
            return f"{end:g} is far from the other values, {rest[0]:g} to {rest[-1]:g}"
    return ""
