"""What every way of holding out items has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.errors import FieldViolation, InvalidArgument
from seedbed_sdk.items import listed

if TYPE_CHECKING:
    import pandas as pd

MAX_HELD_OUT = 20_000


class Splitter(ABC):
    """Takes the items of a split out of the training items."""

    @property
    def columns(self) -> Mapping[str, str]:
        """The columns of the items that it reads, by the option that names each."""
        return {}

    @abstractmethod
    def hold_out(
        self, split: str, rows: Array, items: pd.DataFrame, groups: Array | None, seed: int
    ) -> tuple[Array, Array]:
        """Divides `rows` (positions in `items`, sorted) into those that stay and those held out.

        `split` is `valid` or `test`; `groups` has a stratification label for every item, or is
        None. The same arguments give the same division. Both results are sorted and not empty.
        Raises InvalidArgument where that cannot be.
        """

    def check(self, items: pd.DataFrame) -> None:
        """Raises InvalidArgument for each of `columns` that the items lack."""
        lacking = [
            FieldViolation(
                f"job.options.{option}", f"no column {name!r}; there are {listed(items.columns)}"
            )
            for option, name in self.columns.items()
            if name not in items.columns
        ]
        if lacking:
            raise InvalidArgument.of(lacking, reason="UNKNOWN_COLUMN")


@dataclass(frozen=True)
class Fractions(Splitter):
    """A splitter that holds out a share of the items, from 0 to 1, at most `MAX_HELD_OUT`."""

    valid_fraction: float = 0.2
    test_fraction: float = 0.2

    def wanted(self, split: str, count: int) -> int:
        """How many of `count` items to hold out: at least one, and never all of several."""
        fraction = self.valid_fraction if split == "valid" else self.test_fraction
        return int(np.clip(round(fraction * count), 1, max(1, min(MAX_HELD_OUT, count - 1))))


def generator_for(seed: int, split: str) -> np.random.Generator:
    """Random numbers of a split's own."""
    return np.random.default_rng([seed, 0 if split == "valid" else 1])
