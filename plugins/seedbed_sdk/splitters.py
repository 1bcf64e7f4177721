"""How validation and test items are held out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.errors import FieldViolation, InvalidArgument
from seedbed_sdk.items import listed

if TYPE_CHECKING:
    import pandas as pd

    from seedbed_sdk.task import TaskOptions

MAX_HELD_OUT = 20_000
SPLIT_WORDS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("train", "training", "tr", "fit"), "train"),
        **dict.fromkeys(("valid", "validation", "val", "dev", "development", "eval"), "valid"),
        **dict.fromkeys(("test", "testing", "tst", "holdout", "hold-out", "heldout"), "test"),
    }
)
"""The words that a column of splits may hold, in any case, and the split they mean."""


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


def choose_splitter(options: TaskOptions) -> Splitter:
    """The splitter that the options ask for: by a column that names the split, by group, by time,
    or random. The columns they name have to be among the items.

    Raises InvalidArgument where they ask for two at once.
    """
    named = {
        option: column
        for option in ("split_column", "group_column", "time_column")
        if (column := getattr(options, option))
    }
    if len(named) > 1:
        first, second, *_ = named
        raise InvalidArgument(
            f"job.options.{second}",
            f"{second} {named[second]!r} and {first} {named[first]!r} are two ways to split; "
            "name one of them",
            reason="CONFLICTING_OPTIONS",
        )
    shares = (options.valid_fraction, options.test_fraction)
    if options.split_column:
        return ColumnSplitter(*shares, column=options.split_column)
    if options.group_column:
        return GroupSplitter(*shares, column=options.group_column)
    if options.time_column:
        return TimeSplitter(*shares, column=options.time_column)
    return RandomSplitter(*shares)


@dataclass(frozen=True)
class _Fractions(Splitter):
    valid_fraction: float = 0.2
    test_fraction: float = 0.2

    def _wanted(self, split: str, count: int) -> int:
        fraction = self.valid_fraction if split == "valid" else self.test_fraction
        return int(np.clip(round(fraction * count), 1, max(1, min(MAX_HELD_OUT, count - 1))))


@dataclass(frozen=True)
class RandomSplitter(_Fractions):
    """Random, keeping the groups' shares as far as their sizes allow: each group gives its share,
    rounded by largest remainder, and none gives its last item."""

    def hold_out(
        self,
        split: str,
        rows: Array,
        items: pd.DataFrame,  # noqa: ARG002
        groups: Array | None,
        seed: int,
    ) -> tuple[Array, Array]:
        wanted = self._wanted(split, len(rows))
        generator = _generator(seed, split)
        if groups is None:
            held = np.sort(generator.permutation(rows)[:wanted])
        else:
            held = np.sort(_stratified(rows, groups[rows], wanted, generator))
        return np.setdiff1d(rows, held, assume_unique=True), held


@dataclass(frozen=True)
class ColumnSplitter(_Fractions):
    """By a column whose values are `SPLIT_WORDS`; a split that none of them names is held out at
    random."""

    column: str = field(kw_only=True)

    @property
    def columns(self) -> Mapping[str, str]:
        return {"split_column": self.column}

    def check(self, items: pd.DataFrame) -> None:
        super().check(items)
        self._splits(items)

    def hold_out(
        self, split: str, rows: Array, items: pd.DataFrame, groups: Array | None, seed: int
    ) -> tuple[Array, Array]:
        said = self._splits(items)[rows]
        held = rows[said == split]
        if len(held):
            stay = rows[said != split]
        else:
            free = rows[said == "train"]
            self._require(len(free) > 1, "fewer than two items are for training")
            random = RandomSplitter(self.valid_fraction, self.test_fraction)
            _, held = random.hold_out(split, free, items, groups, seed)
            stay = np.setdiff1d(rows, held, assume_unique=True)
        self._require(len(stay) > 0, f"every item is for {split}, and none is left for training")
        return stay, held

    def _splits(self, items: pd.DataFrame) -> Array:
        """The split of each item."""
        words = items[self.column].astype(str).str.strip().str.lower()
        splits = words.map(SPLIT_WORDS)
        unknown = words[splits.isna()].drop_duplicates()
        self._require(
            unknown.empty,
            f"the values {listed(unknown)} name no split; they may be {', '.join(SPLIT_WORDS)}",
        )
        return splits.to_numpy(dtype=object)

    def _require(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise InvalidArgument(
                "job.options.split_column",
                f"column {self.column!r}: {otherwise}",
                reason="UNSUITABLE_COLUMN",
            )


@dataclass(frozen=True)
class GroupSplitter(_Fractions):
    """Whole groups at random, with shares of classes as near to those of all items as whole groups
    allow. An item without a group is one of its own."""

    column: str = field(kw_only=True)

    @property
    def columns(self) -> Mapping[str, str]:
        return {"group_column": self.column}

    def hold_out(
        self, split: str, rows: Array, items: pd.DataFrame, groups: Array | None, seed: int
    ) -> tuple[Array, Array]:
        together = _numbered(items[self.column].iloc[rows])
        count = int(together.max()) + 1
        if count < 2:
            raise InvalidArgument(
                "job.options.group_column",
                f"column {self.column!r} leaves {count} group of {len(rows)} items to take the "
                f"{split} split from; at least 3 groups are needed, or 2 where a test split is "
                "given",
                reason="TOO_FEW_GROUPS",
            )
        labels = np.zeros(len(rows), np.int64)
        if groups is not None:
            _, labels = np.unique(groups[rows], return_inverse=True)
        share = self._wanted(split, len(rows)) / len(rows)
        taken = _taken_groups(together, labels, share, _generator(seed, split))
        return rows[~taken[together]], rows[taken[together]]


@dataclass(frozen=True)
class TimeSplitter(_Fractions):
    """The newest items are held out, so that the test split is the newest and validation comes
    before it. Items of the same time stay together as far as that leaves some for both sides; those
    without a time are training items."""

    column: str = field(kw_only=True)

    @property
    def columns(self) -> Mapping[str, str]:
        return {"time_column": self.column}

    def hold_out(
        self,
        split: str,
        rows: Array,
        items: pd.DataFrame,
        groups: Array | None,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> tuple[Array, Array]:
        times = read_times(items[self.column].iloc[rows])
        oldest_first = np.argsort(times, kind="stable")
        ordered = times[oldest_first]
        begins = np.flatnonzero(ordered[1:] > ordered[:-1]) + 1
        if not len(begins):
            raise InvalidArgument(
                "job.options.time_column",
                f"column {self.column!r} has no two different times among {len(rows)} items to "
                f"take the {split} split from; name a column of dates or numbers",
                reason="UNSUITABLE_COLUMN",
            )
        cut = len(rows) - self._wanted(split, len(rows))
        if split == "test":
            # Validation is to find two different times too, where there are three.
            begins = begins[min(1, len(begins) - 1) :]
        cut = int(begins[np.argmin(np.abs(begins - cut))])
        return np.sort(rows[oldest_first[:cut]]), np.sort(rows[oldest_first[cut:]])


def read_times(column: pd.Series) -> Array:
    """Numbers that rise with time [N] as float64: dates as microseconds since 1970, numbers as they
    are; minus infinity where there is none."""
    from seedbed_sdk.blocks.column_types import (
        infer_column_type,
        is_day_first,
        read_dates,
        read_numbers,
    )

    if infer_column_type(column) == "numeric":
        numbers, _ = read_numbers(column)
    else:
        dates, _ = read_dates(column, is_day_first(column))
        microseconds = dates.dt.as_unit("us").to_numpy().astype(np.int64)
        numbers = np.where(dates.isna(), np.nan, microseconds)
    return np.where(np.isnan(numbers), -np.inf, numbers)


def _generator(seed: int, split: str) -> np.random.Generator:
    return np.random.default_rng([seed, 0 if split == "valid" else 1])


def _numbered(column: pd.Series) -> Array:
    """A number from 0 for each group [N]; what has no value gets one of its own."""
    import pandas as pd

    numbers, values = pd.factorize(column)
    alone = numbers < 0
    numbers[alone] = len(values) + np.arange(int(alone.sum()))
    return np.asarray(numbers, dtype=np.int64)


def _taken_groups(
    together: Array, labels: Array, share: float, generator: np.random.Generator
) -> Array:
    """Which groups to hold out [G]: one after the other, in random order, where that brings the
    held-out count of each label nearer to its share (by chi-square). Never none and never all."""
    count = int(together.max()) + 1
    goal = share * np.bincount(labels)
    pairs, sizes = np.unique(np.stack([together, labels], axis=1), axis=0, return_counts=True)
    starts = np.searchsorted(pairs[:, 0], np.arange(count + 1))
    taken = np.zeros(count, dtype=np.bool_)
    held = np.zeros(len(goal))
    missing = float(goal.sum())
    gains = np.full(count, -np.inf)
    order = generator.permutation(count)
    for group in order:
        if missing <= 0:
            break
        part = slice(starts[group], starts[group + 1])
        of, more = pairs[part, 1], sizes[part]
        gains[group] = np.sum(more * (2 * (goal[of] - held[of]) - more) / goal[of])
        if gains[group] > 0:
            taken[group] = True
            held[of] += more
            missing -= more.sum()
    if not taken.any():
        taken[order[np.argmax(gains[order])]] = True
    # Two are left where there are as many, so that another split can be taken out of them.
    too_many = int(taken.sum()) - max(count - 2, 1)
    taken[order[taken[order]][: max(too_many, 0)]] = False
    return taken


def _stratified(rows: Array, labels: Array, wanted: int, generator: np.random.Generator) -> Array:
    names, counts = np.unique(labels, return_counts=True)
    ideal = counts * (wanted / len(rows))
    share = np.minimum(np.floor(ideal).astype(np.int64), counts - 1)
    remainder = np.where(share < counts - 1, ideal - share, -1.0)
    missing = wanted - int(share.sum())
    for group in np.argsort(-remainder, kind="stable")[: max(missing, 0)]:
        if remainder[group] >= 0:
            share[group] += 1
    held = [
        generator.permutation(rows[labels == name])[:count]
        for name, count in zip(names, share, strict=True)
    ]
    taken = np.concatenate(held)
    return taken if len(taken) else generator.permutation(rows)[:1]
