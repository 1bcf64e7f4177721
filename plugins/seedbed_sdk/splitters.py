"""How validation and test items are held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.group_splitters import FileGroupSplitter, GroupSplitter
from seedbed_sdk.items import listed
from seedbed_sdk.splitter_base import Fractions, Splitter, generator_for

if TYPE_CHECKING:
    import pandas as pd

    from seedbed_sdk.task import TaskOptions

__all__ = [
    "ColumnSplitter",
    "FileGroupSplitter",
    "GroupSplitter",
    "RandomSplitter",
    "Splitter",
    "TimeSplitter",
    "choose_splitter",
    "read_times",
]

SPLIT_WORDS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("train", "training", "tr", "fit"), "train"),
        **dict.fromkeys(("valid", "validation", "val", "dev", "development", "eval"), "valid"),
        **dict.fromkeys(("test", "testing", "tst", "holdout", "hold-out", "heldout"), "test"),
    }
)
"""The words that a column of splits may hold, in any case, and the split they mean."""


def choose_splitter(options: TaskOptions, *, files: str = "") -> Splitter:
    """The splitter that the options ask for: by a column that names the split, by group, by time,
    or random. The columns they name have to be among the items. `files` is the column of FileRefs
    whose names tell groups; empty where the items are no files.

    Raises InvalidArgument where they ask for two at once, or for groups of files without `files`.
    """
    named = {
        option: value
        for option in ("split_column", "group_column", "group_pattern", "time_column")
        if (value := getattr(options, option))
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
    if options.group_pattern:
        if not files:
            raise InvalidArgument(
                "job.options.group_pattern",
                f"the pattern {options.group_pattern!r} is for names of files, and the items of "
                "this job are rows of a table; name a column in group_column",
                reason="NO_FILES",
            )
        return FileGroupSplitter(*shares, pattern=options.group_pattern, column=files)
    if options.time_column:
        return TimeSplitter(*shares, column=options.time_column)
    return RandomSplitter(*shares)


@dataclass(frozen=True)
class RandomSplitter(Fractions):
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
        wanted = self.wanted(split, len(rows))
        generator = generator_for(seed, split)
        if groups is None:
            held = np.sort(generator.permutation(rows)[:wanted])
        else:
            held = np.sort(_stratified(rows, groups[rows], wanted, generator))
        return np.setdiff1d(rows, held, assume_unique=True), held


@dataclass(frozen=True)
class ColumnSplitter(Fractions):
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
class TimeSplitter(Fractions):
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
        cut = len(rows) - self.wanted(split, len(rows))
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
