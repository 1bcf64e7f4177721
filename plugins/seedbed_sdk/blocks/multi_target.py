"""Several columns at once, classes and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from seedbed_sdk.blocks.base import (
    Array,
    Classification,
    Encoded,
    ItemProblem,
    MultiTarget,
    Prediction,
    Regression,
    TargetBlock,
)
from seedbed_sdk.blocks.category import CategoryBlock
from seedbed_sdk.blocks.regression import RegressionBlock

if TYPE_CHECKING:
    import pandas as pd
    import torch

Part = CategoryBlock | RegressionBlock
OF_BOTH = ("mean_score",)
PARTS: Mapping[str, type[Part]] = {
    CategoryBlock.type: CategoryBlock,
    RegressionBlock.type: RegressionBlock,
}


class MultiTargetBlock(TargetBlock):
    """T columns, each of classes or of numbers; `parts` are their blocks.

    Encoded as float32 [N, T]: class numbers, and numbers in their own units. Networks put out the
    parts' raw outputs beside each other, [N, output size]; the loss is the mean of the parts'
    losses. Activated outputs are [N, T, 1 + C], C being the largest number of classes: first the
    number, zero for a class; then the probabilities, zero for a number and for classes that the
    part does not have. An item that lacks one of its targets is a problem.

    Metrics are means over the targets that they measure; which there are follows from `parts`.
    """

    type: ClassVar[str] = "multi_target"
    metrics: ClassVar[tuple[str, ...]] = (
        *OF_BOTH,
        *CategoryBlock.metrics,
        *RegressionBlock.metrics,
    )
    default_metric: ClassVar[str] = "mean_score"
    prediction_kind: ClassVar[str] = "multi_target"
    averages: ClassVar[bool] = True

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)
        self.column = ",".join(part.column for part in self.parts)
        kinds = {part.type for part in self.parts}
        if len(kinds) == 1:
            (kind,) = kinds
            # The measures of one kind say nothing where some targets are of the other.
            self.metrics = (*PARTS[kind].metrics, *OF_BOTH)  # type: ignore[misc]
            self.default_metric = "accuracy" if kind == CategoryBlock.type else "r2"  # type: ignore[misc]
        else:
            self.metrics = OF_BOTH  # type: ignore[misc]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(part.column for part in self.parts)

    def fit(self, items: pd.DataFrame) -> None:
        for part in self.parts:
            part.fit(items)

    def encode(self, items: pd.DataFrame) -> Encoded:
        encoded = [part.encode(items) for part in self.parts]
        target = np.empty((len(items), len(self.parts)), dtype=np.float32)
        problems: dict[int, ItemProblem] = {}
        for place, result in enumerate(encoded):
            target[:, place] = result.arrays["target"]
            for problem in result.problems:
                problems.setdefault(problem.position, problem)
        bad = sorted(problems)
        target[bad] = 0.0
        return Encoded({"target": target}, [problems[position] for position in bad])

    @property
    def output_size(self) -> int:
        return sum(part.output_size for part in self.parts)

    @property
    def output_shape(self) -> tuple[int, int]:
        classes = [part.output_size for part in self.parts if part.type == CategoryBlock.type]
        return len(self.parts), 1 + max(classes, default=0)

    def loss(
        self, raw: torch.Tensor, target: torch.Tensor, *, label_smoothing: float = 0.0
    ) -> torch.Tensor:
        """The mean of the parts' losses; `raw` [B, output size], `target` [B, T]."""
        import torch

        losses = [
            part.loss(
                piece,
                target[:, place].long() if part.type == CategoryBlock.type else target[:, place],
                label_smoothing=label_smoothing,
            )
            for place, (part, piece) in enumerate(zip(self.parts, self._pieces(raw), strict=True))
        ]
        return torch.stack(losses).mean()

    def activate(self, raw: torch.Tensor) -> torch.Tensor:
        outputs = raw.new_zeros((len(raw), *self.output_shape))
        for place, (part, piece) in enumerate(zip(self.parts, self._pieces(raw), strict=True)):
            outputs[:, place, self._channels(part)] = part.activate(piece).to(outputs.dtype)
        return outputs

    def part_targets(self, target: Array) -> list[Array]:
        """The encoded targets [N, T] as each part has them: int64 or float32 [N]."""
        return [
            target[:, place].astype(np.int64 if part.type == CategoryBlock.type else np.float32)
            for place, part in enumerate(self.parts)
        ]

    def part_outputs(self, outputs: Array) -> list[Array]:
        """Activated outputs as each part has them."""
        return [outputs[:, place, self._channels(part)] for place, part in enumerate(self.parts)]

    def join(self, outputs: Sequence[Array]) -> Array:
        """The activated outputs of all parts as float64 [N, T, 1 + C]."""
        joined = np.zeros((len(outputs[0]), *self.output_shape))
        for place, (part, piece) in enumerate(zip(self.parts, outputs, strict=True)):
            joined[:, place, self._channels(part)] = piece
        return joined

    def stratify(self, encoded: Array) -> Array | None:
        """The classes of the first target that has classes."""
        for part, target in zip(self.parts, self.part_targets(encoded), strict=True):
            if part.type == CategoryBlock.type:
                return target
        return None

    def guess(self, train: Array, count: int) -> Array:
        targets = self.part_targets(train)
        return self.join([p.guess(t, count) for p, t in zip(self.parts, targets, strict=True)])

    def calibrate(self, target: Array, outputs: Array) -> None:
        for part, true, predicted in zip(
            self.parts, self.part_targets(target), self.part_outputs(outputs), strict=True
        ):
            part.calibrate(true, predicted)

    def calibrated(self, outputs: Array) -> Array:
        pieces = zip(self.parts, self.part_outputs(outputs), strict=True)
        return self.join([part.calibrated(piece) for part, piece in pieces])

    def decode(self, outputs: Array) -> list[Prediction]:
        decoded = [
            part.decode(piece)
            for part, piece in zip(self.parts, self.part_outputs(outputs), strict=True)
        ]
        predictions: list[Prediction] = []
        for row in zip(*decoded, strict=True):
            named = [
                (part.column, prediction)
                for part, prediction in zip(self.parts, row, strict=True)
                if isinstance(prediction, Classification | Regression)
            ]
            predictions.append(MultiTarget(tuple(named)))
        return predictions

    def state(self) -> dict[str, Any]:
        return {"parts": [{"type": part.type, **part.state()} for part in self.parts]}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> MultiTargetBlock:
        return cls([PARTS[part["type"]].from_state(part) for part in state["parts"]])

    @staticmethod
    def _channels(part: Part) -> slice:
        return slice(1, 1 + part.output_size) if part.type == CategoryBlock.type else slice(0, 1)

    def _pieces(self, raw: torch.Tensor) -> Sequence[torch.Tensor]:
        import torch

        return torch.split(raw, [part.output_size for part in self.parts], dim=1)
