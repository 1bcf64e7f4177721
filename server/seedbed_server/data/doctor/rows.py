"""Findings about rows of tables that are the same, or nearly so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from seedbed_server.data.doctor.context import Array, Context
from seedbed_server.jobs.values import Finding

SERIOUS_SHARE = 0.01
NEAR_SHARE = 0.001
BY_CHANCE = 1e-3
NEAR_BY_CHANCE = 1e-6
MAX_NEAR_ROWS = 100_000
MAX_NEAR_CELLS = 20_000_000
MAX_NEAR_COLUMNS = 100


@dataclass(frozen=True, slots=True)
class _Hashes:
    """A number for each row [N], the sum of those of its columns, which `parts` [C, N] are for the
    first rows."""

    whole: Array
    parts: Array


def about_rows(context: Context) -> Iterator[Finding]:
    """Rows that occur again, in the training data or held out; rows held out that differ from a
    training row in one column only. What few values must repeat by chance is no finding."""
    table = context.table()
    if context.layout != "table" or table is None:
        return
    names = list(context.shape.types)
    train = _hashes(table, names)
    chance = _collisions(train)
    doubles = int(pd.Series(train.whole).duplicated().sum())
    if doubles and _is_rare(chance, len(table), BY_CHANCE):
        yield Finding(
            "INFO",
            "duplicate_rows",
            f"{doubles:,} of {len(table):,} training rows occur before, with the same values in "
            f"all of {len(names):,} columns",
            "",
            "If they are copies by mistake, remove them: validation scores come out too high.",
        )
    for split, other in context.held_out():
        shared = [name for name in names if name in other.columns]
        if not shared:
            continue
        here = train if shared == names else _hashes(table, shared)
        there = _hashes(other, shared)
        again = np.isin(there.whole, here.whole)
        odds = [chance[names.index(name)] for name in shared]
        if again.any() and _is_rare(odds, len(table), BY_CHANCE):
            count = int(again.sum())
            yield Finding(
                "WARNING" if count >= SERIOUS_SHARE * len(other) else "INFO",
                f"rows_in_train_and_{split}",
                f"{count:,} of {len(other):,} {split} rows are also among the training rows",
                "",
                f"Remove them from one of the two: {split} scores come out too high.",
            )
        yield from _near(context, split, shared, here, there, odds, ~again)


def _near(
    context: Context,
    split: str,
    names: list[str],
    here: _Hashes,
    there: _Hashes,
    chance: list[float],
    fresh: Array,
) -> Iterator[Finding]:
    """Rows that become copies when one column is left out."""
    if len(names) < 3 or context.shape.user or len(names) > MAX_NEAR_COLUMNS:
        return
    rows = np.flatnonzero(fresh[: there.parts.shape[1]])
    known = here.whole[: here.parts.shape[1]]
    near = np.zeros(len(rows), dtype=np.bool_)
    columns = []
    for i, name in enumerate(names):
        if context.is_late():
            return
        rest = [odd for j, odd in enumerate(chance) if j != i]
        if not _is_rare(rest, len(here.whole), NEAR_BY_CHANCE):
            continue
        left = there.whole[rows] - there.parts[i, rows]
        found = np.isin(left, known - here.parts[i])
        if found.any():
            columns.append(name)
            near |= found
    count = int(near.sum())
    if count >= max(1, NEAR_SHARE * len(rows)):
        of = ", ".join(map(repr, columns[:5]))
        yield Finding(
            "WARNING" if count >= SERIOUS_SHARE * len(rows) else "INFO",
            f"near_duplicate_rows_in_{split}",
            f"{count:,} of {len(rows):,} {split} rows that were looked at equal a training row in "
            f"all columns but one (which is {of})",
            "",
            f"If they are copies or the same thing again, keep them in one split: {split} scores "
            "come out too high.",
        )


def _hashes(table: pd.DataFrame, names: list[str]) -> _Hashes:
    """A column that is numbers in one split and text in another is hashed alike where the values
    are."""
    whole = np.zeros(len(table), dtype=np.uint64)
    kept = min(len(table), MAX_NEAR_ROWS, MAX_NEAR_CELLS // len(names))
    parts = np.empty((len(names), kept), dtype=np.uint64)
    for i, name in enumerate(names):
        # An odd factor of its own keeps columns with the same values apart in the sum.
        factor = np.uint64((2 * i + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF | 1)
        hashes = pd.util.hash_pandas_object(_plain(table[name]), index=False).to_numpy() * factor
        whole += hashes
        parts[i] = hashes[:kept]
    return _Hashes(whole, parts)


def _plain(column: pd.Series) -> pd.Series:
    """Values that are hashed alike where they are alike: numbers as floats, times in seconds, all
    else as text."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.astype("float64")
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        seconds: pd.Series = column.astype(
            "datetime64[us, UTC]" if column.dt.tz else "datetime64[us]"
        )
        return seconds
    return column.astype("str")


def _collisions(train: _Hashes) -> list[float]:
    """For each column the probability that two different rows have the same value."""
    rows = np.unique(train.whole[: train.parts.shape[1]], return_index=True)[1]
    pairs = len(rows) * (len(rows) - 1)
    counts = [
        np.unique(part[rows], return_counts=True)[1].astype(np.float64) for part in train.parts
    ]
    return [float((n * (n - 1)).sum()) / pairs if pairs else 0.0 for n in counts]


def _is_rare(chance: list[float], rows: int, limit: float) -> bool:
    """Whether a row would seldom find an equal among so many if the columns were independent."""
    return float(np.prod(chance)) * rows <= limit
