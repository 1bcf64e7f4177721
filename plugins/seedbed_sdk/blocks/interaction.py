"""What a user turns to next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from seedbed_sdk.blocks.base import Array, Encoded, ItemProblem, Prediction, Ranking, TargetBlock
from seedbed_sdk.errors import InvalidArgument

if TYPE_CHECKING:
    import pandas as pd
    import torch

NOTHING = -1
RANKED = 100


class InteractionBlock(TargetBlock):
    """Items that a user interacts with, to be ranked. `column` is the column of items, or of
    ratings where there are some; a row counts as an interaction where it has a value, and a rating
    of at least `positive_from` where that is given. `encode` tells which rows do, as int64 [N, 1].

    Targets are the codes of items: of each training row, int32 [N, 1]; of those held out of each
    user, int32 [U, M] padded with -1. Outputs are the codes of the 100 items ranked first, int32
    [U, 100] padded with -1. `items` are the labels of the codes from 1 on.
    """

    type: ClassVar[str] = "interaction"
    metrics: ClassVar[tuple[str, ...]] = (
        "recall_at_10",
        "ndcg_at_10",
        "precision_at_10",
        "map_at_10",
    )
    default_metric: ClassVar[str] = "recall_at_10"
    prediction_kind: ClassVar[str] = "ranking"

    def __init__(
        self, column: str, positive_from: float | None = None, items: tuple[str, ...] = ()
    ) -> None:
        self.column = column
        self.positive_from = positive_from
        self.items = items

    def fit(self, items: pd.DataFrame) -> None:
        encoded = self.encode(items)
        if not encoded.arrays["target"].any():
            bound = "" if self.positive_from is None else f" of at least {self.positive_from:g}"
            raise InvalidArgument(
                "job.target" if self.positive_from is None else "job.options.positive_from",
                f"none of {len(items)} rows has a value{bound} in column {self.column!r}; "
                "at least some rows must count as interactions",
                reason="NO_INTERACTIONS",
            )

    def encode(self, items: pd.DataFrame) -> Encoded:
        from seedbed_sdk.blocks.column_types import read_numbers

        column = items[self.column]
        missing = column.isna().to_numpy()
        positive = ~missing
        if self.positive_from is not None:
            numbers, wrong = read_numbers(column)
            missing = missing | wrong
            positive = ~missing & (np.nan_to_num(numbers, nan=-np.inf) >= self.positive_from)
        problems = [
            ItemProblem(i, f"row {items.index[i]}", f"no value in column {self.column!r}")
            for i in np.flatnonzero(missing).tolist()
        ]
        return Encoded({"target": positive.astype(np.int64)[:, None]}, problems)

    @property
    def output_size(self) -> int:
        return RANKED

    def loss(
        self, raw: torch.Tensor, target: torch.Tensor, *, label_smoothing: float = 0.0
    ) -> torch.Tensor:
        """Cross-entropy over each interaction's item, in the first column of `raw` [B, 1 + K], and
        K others that were drawn at random."""
        import torch
        import torch.nn.functional as F

        first = torch.zeros(len(raw), dtype=torch.long, device=target.device)
        return F.cross_entropy(raw, first, label_smoothing=label_smoothing)

    def activate(self, raw: torch.Tensor) -> torch.Tensor:
        return raw

    def stratify(self, encoded: Array) -> Array | None:  # noqa: ARG002
        return None

    def guess(self, train: Array, count: int) -> Array:
        """The most frequent items, for everybody."""
        frequent = np.argsort(-np.bincount(train[:, 0]), kind="stable")[:RANKED]
        return np.tile(frequent[frequent > 0].astype(np.int32), (count, 1))

    def decode(self, outputs: Array) -> list[Prediction]:
        """Rankings with 1 / rank as the score."""
        return [
            Ranking(
                tuple(
                    (self.items[code - 1], 1.0 / rank)
                    for rank, code in enumerate(row.tolist(), start=1)
                    if code > 0
                )
            )
            for row in outputs
        ]

    def state(self) -> dict[str, Any]:
        return {
            "column": self.column,
            "positive_from": self.positive_from,
            "items": list(self.items),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> InteractionBlock:
        return cls(state["column"], state["positive_from"], tuple(state["items"]))
