"""Holding out whole groups: by a column, or by the names of files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.dataset import FileRef
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.file_names import groups_of_names
from seedbed_sdk.items import listed
from seedbed_sdk.splitter_base import Fractions, generator_for

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 3


class _ByGroup(Fractions):
    """Whole groups at random, with shares of classes as near to those of all items as whole groups
    allow. An item without a group is one of its own."""

    @abstractmethod
    def _groups(self, items: pd.DataFrame) -> pd.Series:
        """The group of each item; missing where it has none."""

    @property
    @abstractmethod
    def _named(self) -> tuple[str, str]:
        """The option that says the groups, and what it says in words."""

    def hold_out(
        self, split: str, rows: Array, items: pd.DataFrame, groups: Array | None, seed: int
    ) -> tuple[Array, Array]:
        together = _numbered(self._groups(items.iloc[rows]))
        count = int(together.max()) + 1
        if count < 2:
            option, what = self._named
            raise InvalidArgument(
                f"job.options.{option}",
                f"{what} leaves {count} group of {len(rows)} items to take the {split} split "
                "from; at least 3 groups are needed, or 2 where a test split is given",
                reason="TOO_FEW_GROUPS",
            )
        labels = np.zeros(len(rows), np.int64)
        if groups is not None:
            _, labels = np.unique(groups[rows], return_inverse=True)
        share = self.wanted(split, len(rows)) / len(rows)
        taken = _taken_groups(together, labels, share, generator_for(seed, split))
        return rows[~taken[together]], rows[taken[together]]


@dataclass(frozen=True)
class GroupSplitter(_ByGroup):
    """By a column of groups."""

    column: str = field(kw_only=True)

    @property
    def columns(self) -> Mapping[str, str]:
        return {"group_column": self.column}

    @property
    def _named(self) -> tuple[str, str]:
        return "group_column", f"column {self.column!r}"

    def _groups(self, items: pd.DataFrame) -> pd.Series:
        return items[self.column]


@dataclass(frozen=True)
class FileGroupSplitter(_ByGroup):
    """By what a pattern finds in the names of files, as `groups_of_names` does: `column` holds a
    `FileRef` for each item."""

    pattern: str = field(kw_only=True)
    column: str = field(kw_only=True)

    @property
    def columns(self) -> Mapping[str, str]:
        return {"group_pattern": self.column}

    @property
    def _named(self) -> tuple[str, str]:
        return "group_pattern", f"the pattern {self.pattern!r}"

    def check(self, items: pd.DataFrame) -> None:
        """Raises InvalidArgument also for a pattern that is none, matches no name, or finds the
        same group in all of them."""
        super().check(items)
        groups = self._groups(items)
        found = groups.dropna().unique()
        some = listed(_name(file) for file in items[self.column].head(_SHOWN))
        if not len(found):
            raise self._refusal(f"matches none of {len(items)} names of files, such as {some}")
        if len(found) == 1 and groups.notna().all():
            raise self._refusal(
                f"finds the one group {found[0]!r} in all of {len(items)} names of files, such as "
                f"{some}; at least 3 groups are needed, or 2 where a test split is given"
            )

    def _groups(self, items: pd.DataFrame) -> pd.Series:
        import pandas as pd

        try:
            found = groups_of_names([_name(file) for file in items[self.column]], self.pattern)
        except ValueError as error:
            raise self._refusal(
                f"is no regular expression as RE2 understands it, which knows neither lookarounds "
                f"nor backreferences: {error}"
            ) from error
        groups = pd.Series(found, index=items.index, dtype=object)
        return groups.where(groups != "", None)

    def _refusal(self, why: str) -> InvalidArgument:
        return InvalidArgument(
            "job.options.group_pattern",
            f"the pattern {self.pattern!r} {why}",
            reason="UNSUITABLE_PATTERN",
        )


def _name(file: object) -> str:
    return file.name if isinstance(file, FileRef) else ""


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
