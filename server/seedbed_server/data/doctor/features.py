"""Plain numbers for the doctor's quick models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seedbed_sdk.blocks.column_types import (
    count_off,
    is_day_first,
    read_booleans,
    read_dates,
    read_numbers,
)

Array = NDArray[Any]


def column_numbers(columns: Sequence[pd.Series], kind: str) -> list[Array]:
    """A column of each of several tables as float64 [N] that trees can split: numbers and times as
    they are, categories by how common they are, NaN where there is no value."""
    if kind == "numeric":
        return [read_numbers(column)[0] for column in columns]
    if kind == "boolean":
        return [read_booleans(column)[0] for column in columns]
    if kind == "date":
        return [_seconds(column) for column in columns]
    together = pd.concat(columns, ignore_index=True)
    codes, values = count_off(together)
    counts = np.bincount(codes[codes >= 0], minlength=len(values))
    # Categories of the same frequency stay apart, in the order in which they first occur.
    rank = np.empty(len(values), dtype=np.float64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(values))
    numbers = np.where(codes >= 0, np.append(rank, np.nan)[codes], np.nan)
    ends = np.cumsum([len(column) for column in columns])[:-1]
    return list(np.split(numbers, ends))


def table_features(
    tables: Sequence[pd.DataFrame], types: Mapping[str, str], names: Sequence[str]
) -> list[Array]:
    """Tables as float32 [N, number of columns] each, coded alike; a missing value is a number below
    all others."""
    found = [np.empty((len(table), len(names)), dtype=np.float32) for table in tables]
    for i, name in enumerate(names):
        numbers = column_numbers([table[name] for table in tables], types[name])
        known = np.concatenate(numbers)
        finite = known[np.isfinite(known)]
        below = finite.min() - max(1.0, float(np.ptp(finite))) if len(finite) else 0.0
        for matrix, values in zip(found, numbers, strict=True):
            filled = np.where(np.isfinite(values), values, below)
            matrix[:, i] = np.clip(filled, -1e30, 1e30)
    return found


def labels_of(column: pd.Series) -> Array:
    """Class numbers [N] of a column; -1 where it has no value."""
    return np.maximum(count_off(column)[0], -1)


def _seconds(column: pd.Series) -> Array:
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        dates = pd.to_datetime(column, utc=True).dt.tz_localize(None)
    else:
        if column.dtype == object:
            column = column.where(
                np.array([isinstance(v, str | date) for v in column], dtype=np.bool_)
            )
        dates = read_dates(column, is_day_first(column))[0]
    seconds = dates.astype("datetime64[s]").to_numpy().astype(np.int64).astype(np.float64)
    return np.where(dates.isna().to_numpy(), np.nan, seconds)
