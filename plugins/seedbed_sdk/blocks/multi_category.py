"""Any number of classes out of several."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from seedbed_sdk.blocks.base import (
    Array,
    Encoded,
    ItemProblem,
    MultiLabel,
    Prediction,
    TargetBlock,
)
from seedbed_sdk.blocks.category import MAX_CLASSES, label_text
from seedbed_sdk.errors import InvalidArgument

if TYPE_CHECKING:
    import pandas as pd
    import torch

THRESHOLD = 0.5
SEPARATORS = re.compile(r"\s*[|;,]\s*")
YES = frozenset({"1", "true", "yes"})
NO = frozenset({"0", "false", "no"})


class MultiCategoryBlock(TargetBlock):
    """Labels of which any number may apply to an item.

    They stand in one column, as a list or as text with `|`, `;` or `,` between them, where empty
    text means none; or in several columns of 0 and 1, one for each class. Encoded as float32
    [N, classes] of 0 and 1; the outputs are the classes' probabilities, which need not add up to 1.
    """

    type: ClassVar[str] = "multi_category"
    metrics: ClassVar[tuple[str, ...]] = (
        "macro_f1",
        "micro_f1",
        "average_precision",
        "roc_auc",
        "hamming_loss",
        "accuracy",
        "log_loss",
    )
    default_metric: ClassVar[str] = "macro_f1"
    prediction_kind: ClassVar[str] = "multi_label"
    averages: ClassVar[bool] = True

    def __init__(self, target_columns: Iterable[str], classes: tuple[str, ...] = ()) -> None:
        self.target_columns = tuple(target_columns)
        self.column = ",".join(self.target_columns)
        self.classes = classes

    @property
    def columns(self) -> tuple[str, ...]:
        return self.target_columns

    def fit(self, items: pd.DataFrame) -> None:
        found = [labels for labels in self._labels(items) if isinstance(labels, frozenset)]
        classes = sorted(set(self.target_columns) if self._wide else set().union(*found))
        if not found or len(classes) < 2:
            raise InvalidArgument(
                "job.target",
                f"{self.column!r} names {len(classes)} classes in {len(items)} rows; at least two "
                "are needed, in one column with | between them or in several columns of 0 and 1",
                reason="TARGET_SINGLE_CLASS",
            )
        if len(classes) > MAX_CLASSES:
            raise InvalidArgument(
                "job.target",
                f"{self.column!r} has {len(classes)} different labels; at most {MAX_CLASSES} "
                "classes are possible",
                reason="TARGET_TOO_MANY_CLASSES",
            )
        self.classes = tuple(classes)

    def encode(self, items: pd.DataFrame) -> Encoded:
        number = {label: i for i, label in enumerate(self.classes)}
        target = np.zeros((len(items), len(self.classes)), dtype=np.float32)
        problems: list[ItemProblem] = []
        for position, labels in enumerate(self._labels(items)):
            if isinstance(labels, str):
                problems.append(ItemProblem(position, f"row {items.index[position]}", labels))
                continue
            unknown = labels - number.keys()
            if unknown:
                reason = f"label {min(unknown)!r} does not occur in the training data"
                problems.append(ItemProblem(position, f"row {items.index[position]}", reason))
                continue
            target[position, [number[label] for label in labels]] = 1.0
        return Encoded({"target": target}, problems)

    @property
    def _wide(self) -> bool:
        return len(self.target_columns) > 1

    def _labels(self, items: pd.DataFrame) -> list[frozenset[str] | str]:
        """The labels of each item, or why there are none."""
        if not self._wide:
            return [self._split(value) for value in items[self.column]]
        columns = [items[name].tolist() for name in self.target_columns]
        return [self._chosen(row) for row in zip(*columns, strict=True)]

    def _split(self, value: Any) -> frozenset[str] | str:
        if isinstance(value, list | tuple | set | np.ndarray):
            return frozenset(label_text(label) for label in value)
        if value is None or value != value:  # NaN differs from itself
            return f"no labels in column {self.column!r}"
        parts = SEPARATORS.split(label_text(value).strip())
        return frozenset(part for part in parts if part)

    def _chosen(self, row: tuple[Any, ...]) -> frozenset[str] | str:
        chosen = []
        for name, value in zip(self.target_columns, row, strict=True):
            text = label_text(value).lower()
            if text in YES:
                chosen.append(name)
            elif text not in NO:
                return f"column {name!r} must be 0 or 1, got {value!r}"
        return frozenset(chosen)

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
        """Binary cross-entropy of logits and targets, both [B, classes]."""
        import torch.nn.functional as F

        smooth = target * (1.0 - label_smoothing) + 0.5 * label_smoothing
        return F.binary_cross_entropy_with_logits(raw, smooth)

    def activate(self, raw: torch.Tensor) -> torch.Tensor:
        return raw.float().sigmoid()

    def stratify(self, encoded: Array) -> Array | None:
        """The rarest label of each item, so that rare ones are in every split."""
        counts = encoded.sum(axis=0)
        rarity = np.where(encoded > 0, counts, np.inf)
        return np.where(encoded.any(axis=1), rarity.argmin(axis=1), len(self.classes))

    def decode(self, outputs: Array) -> list[Prediction]:
        predictions: list[Prediction] = []
        for row in outputs:
            ordered = [(self.classes[i], float(row[i])) for i in np.argsort(-row, kind="stable")]
            labels = tuple(label for label, probability in ordered if probability > THRESHOLD)
            predictions.append(MultiLabel(labels, tuple(ordered)))
        return predictions

    def state(self) -> dict[str, Any]:
        return {"columns": list(self.target_columns), "classes": list(self.classes)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> MultiCategoryBlock:
        return cls(state["columns"], tuple(state["classes"]))
