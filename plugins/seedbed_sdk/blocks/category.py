"""One class out of several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from seedbed_sdk.blocks.base import (
    Array,
    Classification,
    Encoded,
    ItemProblem,
    Prediction,
    TargetBlock,
)
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.temperature import fitted_temperature, scaled

if TYPE_CHECKING:
    import pandas as pd
    import torch

MAX_CLASSES = 10_000


def label_text(value: Any) -> str:
    """A class label as text: integral floats lose their `.0`, since pandas reads a column of whole
    numbers with a gap as floats."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


class CategoryBlock(TargetBlock):
    """A column whose values are class labels. Encoded as int64 class numbers; the outputs are the
    probabilities of the classes, in the order of `classes` (sorted as text). What is told are these
    at `temperature`, which changes how sure a label is and never which it is."""

    type: ClassVar[str] = "category"
    metrics: ClassVar[tuple[str, ...]] = (
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "roc_auc",
        "log_loss",
    )
    default_metric: ClassVar[str] = "accuracy"
    prediction_kind: ClassVar[str] = "classification"
    averages: ClassVar[bool] = True

    def __init__(
        self, column: str, classes: tuple[str, ...] = (), temperature: float = 1.0
    ) -> None:
        self.column = column
        self.classes = classes
        self.temperature = temperature

    def fit(self, items: pd.DataFrame) -> None:
        values = items[self.column].dropna()
        if values.empty:
            raise InvalidArgument(
                "job.target",
                f"column {self.column!r} has no value in any of {len(items)} rows; "
                "name a column that is filled in",
                reason="TARGET_ALL_MISSING",
            )
        classes = sorted({label_text(value) for value in values.unique()})
        if len(classes) == 1:
            raise InvalidArgument(
                "job.target",
                f"column {self.column!r} has the single class {classes[0]!r} in all of "
                f"{len(values)} rows; at least two classes are needed",
                reason="TARGET_SINGLE_CLASS",
            )
        if len(classes) > MAX_CLASSES:
            raise InvalidArgument(
                "job.target",
                f"column {self.column!r} has {len(classes)} different labels; at most "
                f"{MAX_CLASSES} classes are possible",
                reason="TARGET_TOO_MANY_CLASSES",
            )
        self.classes = tuple(classes)

    def encode(self, items: pd.DataFrame) -> Encoded:
        number = {label: i for i, label in enumerate(self.classes)}
        column = items[self.column]
        target = np.zeros(len(items), dtype=np.int64)
        problems: list[ItemProblem] = []
        missing = column.isna().to_numpy()
        for position, value in enumerate(column):
            found = None if missing[position] else number.get(label_text(value))
            if found is not None:
                target[position] = found
                continue
            reason = (
                f"no label in column {self.column!r}"
                if missing[position]
                else f"label {label_text(value)!r} does not occur in the training data"
            )
            problems.append(ItemProblem(position, f"row {items.index[position]}", reason))
        return Encoded({"target": target}, problems)

    @property
    def labels(self) -> tuple[str, ...]:
        return self.classes

    @property
    def output_size(self) -> int:
        return len(self.classes)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.output_size,)

    def loss(
        self, raw: torch.Tensor, target: torch.Tensor, *, label_smoothing: float = 0.0
    ) -> torch.Tensor:
        """Cross-entropy; `target` [B] holds class numbers, or [B, classes] probabilities."""
        import torch.nn.functional as F

        return F.cross_entropy(raw, target, label_smoothing=label_smoothing)

    def activate(self, raw: torch.Tensor) -> torch.Tensor:
        return raw.float().softmax(dim=1)

    def stratify(self, encoded: Array) -> Array | None:
        return encoded

    def calibrate(self, target: Array, outputs: Array) -> None:
        self.temperature = fitted_temperature(target, outputs)

    def calibrated(self, outputs: Array) -> Array:
        return outputs if self.temperature == 1.0 else scaled(outputs, self.temperature)

    def decode(self, outputs: Array) -> list[Prediction]:
        predictions: list[Prediction] = []
        # Ordered before scaling, which may make two tiny probabilities the same.
        for row, told in zip(outputs, self.calibrated(outputs), strict=True):
            order = np.argsort(-row, kind="stable")
            predictions.append(
                Classification(
                    self.classes[order[0]],
                    tuple((self.classes[i], float(told[i])) for i in order),
                )
            )
        return predictions

    def state(self) -> dict[str, Any]:
        return {
            "column": self.column,
            "classes": list(self.classes),
            "temperature": self.temperature,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> CategoryBlock:
        # Bundles of earlier versions have none.
        return cls(state["column"], tuple(state["classes"]), state.get("temperature", 1.0))
