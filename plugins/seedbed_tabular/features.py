"""A table's columns as numbers, for models that are no networks and no trees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.blocks.tabular import TabularBlock


@dataclass(slots=True)
class Features:
    """How encoded columns become standard scores, indicators of missing numbers, and codes of
    categories. `means` and `stds` [F] are of the numeric columns, `sizes` the numbers of codes of
    the categorical ones; `indicators` says which numeric columns have an indicator, which is
    learned from the training items by `watch`."""

    means: Array
    stds: Array
    sizes: Array
    indicators: Array

    @classmethod
    def of(cls, block: TabularBlock) -> Features:
        """Of a fitted block, with no indicators yet."""
        return cls(
            np.array([f.mean for f in block.numeric], dtype=np.float64),
            np.array([f.std for f in block.numeric], dtype=np.float64),
            np.array([f.cardinality for f in block.categorical], dtype=np.int64),
            np.zeros(0, dtype=np.int64),
        )

    def watch(self, numeric: Array) -> None:
        """Gives an indicator to the columns of [N, F] in which something is missing."""
        self.indicators = np.flatnonzero(np.isnan(numeric).any(axis=0))

    def numbers(self, numeric: Array) -> Array:
        """Standard scores, zero where missing, and indicators: float64 [N, F + indicators]."""
        missing = np.isnan(numeric)
        scores = np.where(missing, 0.0, (numeric - self.means) / self.stds)
        return np.concatenate([scores, missing[:, self.indicators].astype(np.float64)], axis=1)

    def starts(self) -> Array:
        """Where the codes of each categorical column begin among all codes."""
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.int64)[: len(self.sizes)]
