"""Findings about rows of tables that are the same, or nearly so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from seedbed_server.data.doctor.columns import is_id
from seedbed_server.data.doctor.context import DIVIDING, Array, Context, number
from seedbed_server.data.doctor.features import labels_of
from seedbed_server.jobs.values import Finding

SERIOUS_SHARE = 0.01
NOTED_SHARE = 0.001
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
    """Rows that occur again, in the training data or held out; rows that differ in their class
    alone, where these are not very few; rows held out that differ from a training row in one column
    only. What few values must repeat by chance is no finding."""
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
    yield from _conflicts(context, table, names, train, chance)
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


def _conflicts(
    context: Context, table: pd.DataFrame, names: list[str], train: _Hashes, chance: list[float]
) -> Iterator[Finding]:
    """Rows with the same inputs and different classes. Identifiers, and columns that only divide
    the rows, are no inputs; free text is not the same by chance."""
    shape = context.shape
    if shape.target_types[:1] != ("category",) or not shape.target or shape.user:
        return
    left_out = {shape.target, *(context.options.get(option) for option in DIVIDING)}
    left_out |= {
        name
        for name, part in zip(names, train.parts, strict=True)
        if len(np.unique(part)) == len(part) and is_id(table[name], name, shape.types[name])
    }
    used = [name for name in names if name not in left_out]
    odds = [0.0 if shape.types[n] == "text" else chance[names.index(n)] for n in used]
    if not used or not _is_rare(odds, len(table), BY_CHANCE):
        return
    inputs = train.whole.copy()
    for i, name in enumerate(names):
        if name in left_out:
            inputs -= _column_hashes(table[name], i)
    rows = np.flatnonzero(pd.Series(inputs).duplicated(keep=False))
    labels = table[shape.target].iloc[rows]
    codes = labels_of(labels)
    found = pd.DataFrame({"inputs": inputs[rows], "code": codes, "label": labels, "row": rows + 1})
    found = found[codes >= 0]
    differ = found.groupby("inputs")["code"].transform("nunique") > 1
    count = int(differ.sum())
    if count <= NOTED_SHARE * len(table):
        return
    first, *others = found[found["inputs"] == found["inputs"][differ].iloc[0]].itertuples()
    other = next(row for row in others if row.code != first.code)
    yield Finding(
        "WARNING" if count >= SERIOUS_SHARE * len(table) else "INFO",
        "conflicting_labels",
        f"{count:,} of {len(table):,} training rows have the same {number(used, 'input', 'inputs')}"
        f" as a row of another class, such as row {first.row:,}, which is {str(first.label)!r}, "
        f"and row {other.row:,}, which is {str(other.label)!r}",
        shape.target,
        "Correct their labels, or add a column that tells them apart: no model can be right about "
        "both.",
    )


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
    if count >= max(1, NOTED_SHARE * len(rows)):
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
        hashes = _column_hashes(table[name], i)
        whole += hashes
        parts[i] = hashes[:kept]
    return _Hashes(whole, parts)


def _column_hashes(column: pd.Series, i: int) -> Array:
    # An odd factor of its own keeps columns with the same values apart in the sum.
    factor = np.uint64((2 * i + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF | 1)
    hashes: Array = pd.util.hash_pandas_object(_plain(column), index=False).to_numpy() * factor
    return hashes


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
