"""What the doctor's checks look at, and how long they may."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seedbed_server.data.doctor.features import table_features
from seedbed_server.data.doctor.files import FileFacts, look_at_files
from seedbed_server.data.doctor.represent import Items, represent
from seedbed_server.data.shape import Shape
from seedbed_server.jobs.values import Finding

SAMPLED = 4_000
MAX_FEATURES = 1_000
HELD_OUT = ("valid", "test")
MIN_ROWS = 20
NAMED = 5
SEED = 0

Array = NDArray[Any]


@dataclass(frozen=True)
class Context:
    """A dataset with what is known of it. `options` are the job's, as far as they are known;
    `deadline` is a `time.monotonic()` after which no check begins."""

    shape: Shape
    options: Mapping[str, Any] = field(default_factory=dict)
    deadline: float = float("inf")

    def is_late(self) -> bool:
        return time.monotonic() >= self.deadline

    @property
    def layout(self) -> str:
        return self.shape.dataset.layout

    def table(self, split: str = "train") -> pd.DataFrame | None:
        data = self.shape.dataset.splits.get(split)
        return None if data is None else data.table

    def held_out(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """The tables that the data has besides that for training, by split."""
        for split in HELD_OUT:
            table = self.table(split)
            if table is not None:
                yield split, table

    @cached_property
    def features(self) -> list[str]:
        """The columns of a table that a quick model may learn from: no users, items or texts, and
        nothing that only divides the items. Of very many the first."""
        shape = self.shape
        others = {shape.user, shape.item, *(self.options.get(k) for k in DIVIDING)}
        return [
            name
            for name in shape.inputs
            if name not in others and shape.types[name] not in ("text", "empty")
        ][:MAX_FEATURES]

    @cached_property
    def sample(self) -> pd.DataFrame:
        """At most `SAMPLED` training rows, in their order; the same each time."""
        assert self.shape.table is not None
        return self.sampled(self.shape.table)

    @cached_property
    def sample_features(self) -> Array:
        """The features of the sample as float32 [N, number of features]."""
        return table_features([self.sample], self.shape.types, self.features)[0]

    @cached_property
    def files(self) -> Mapping[str, FileFacts]:
        """What reading the files of each split showed."""
        return look_at_files(self.shape.dataset, self.deadline)

    @cached_property
    def items(self) -> Mapping[str, Items]:
        """The sampled items of each split as numbers."""
        return represent(self)

    @staticmethod
    def sampled(table: pd.DataFrame, count: int = SAMPLED) -> pd.DataFrame:
        """At most `count` rows of a table, in their order; the same each time."""
        if len(table) <= count:
            return table
        rows = np.random.default_rng(SEED).choice(len(table), count, replace=False)
        return table.iloc[np.sort(rows)]


DIVIDING = ("group_column", "split_column")
Check = Callable[[Context], Iterator[Finding]]


def number(things: list[str], one: str, many: str) -> str:
    """How many things there are, with the word for them."""
    return f"1 {one}" if len(things) == 1 else f"{len(things):,} {many}"


def named(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(map(repr, names[:NAMED])) + more
