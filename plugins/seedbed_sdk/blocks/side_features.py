"""What a side table says of the users or items that interactions are about, as numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from seedbed_sdk.blocks.base import Array

if TYPE_CHECKING:
    import pandas as pd

SEPARATOR = "|"
MAX_FEATURES = 128
MAX_CELLS = 50_000_000
MIN_SHARE = 0.001
TITLE_SHARE = 0.5
_YEAR_AT_END = re.compile(r"\((\d{4})\)\s*$")


def side_features(
    table: pd.DataFrame, key: str, labels: Sequence[str]
) -> tuple[tuple[str, ...], Array]:
    """Names of F features and their values, float32 [len(labels), F], for the rows of `table` whose
    column `key` has the label; the first row counts where there are several.

    Numbers and dates become standard scores, 0 where missing. Categories, and lists of them
    separated by `|`, become one column of 0 and 1 a value, the most frequent first, as far as 128
    features and 50 million cells allow; values in less than a thousandth of the rows are left out.
    Of titles that mostly end in a year in brackets, as `Alien (1979)`, the year is taken. Other
    free text is not used.
    """
    from seedbed_sdk.blocks.vocabulary import labels_of

    texts = labels_of(table[key])
    rows = table.loc[(texts.notna() & ~texts.duplicated()).to_numpy()]
    rows = rows.set_index(texts[rows.index]).reindex(list(labels))
    limit = min(MAX_FEATURES, MAX_CELLS // max(1, len(labels)))
    found: list[tuple[str, Array]] = []
    for name in table.columns:
        if name != key and len(found) < limit:
            found += _features(str(name), rows[name])
    found = found[:limit]
    if not found:
        return (), np.zeros((len(labels), 0), dtype=np.float32)
    return tuple(name for name, _ in found), np.stack([values for _, values in found], axis=1)


def _features(name: str, column: pd.Series) -> Iterator[tuple[str, Array]]:
    from seedbed_sdk.blocks.column_types import (
        infer_column_type,
        is_day_first,
        read_dates,
        read_numbers,
    )

    known = column.dropna()
    if known.empty:
        return
    if known.astype(str).str.contains(SEPARATOR, regex=False).any():
        yield from _categories(name, column, SEPARATOR)
        return
    kind = infer_column_type(column)
    if kind == "numeric":
        yield from _numbers(name, read_numbers(column)[0])
    elif kind == "date":
        dates, _ = read_dates(column, is_day_first(column))
        days = dates.dt.as_unit("s").to_numpy().astype(np.int64).astype(np.float64)
        yield from _numbers(name, np.where(dates.isna(), np.nan, days))
    elif kind in ("category", "boolean", "text"):
        years = column.astype("string").str.extract(_YEAR_AT_END)[0]
        if years.notna().sum() >= TITLE_SHARE * len(known):
            yield from _numbers(f"{name}.year", years.to_numpy(dtype=np.float64, na_value=np.nan))
        elif kind != "text":
            yield from _categories(name, column, None)


def _numbers(name: str, values: Array) -> Iterator[tuple[str, Array]]:
    known = values[~np.isnan(values)]
    if known.size and known.min() < known.max():
        scores = (values - known.mean()) / known.std()
        yield name, np.nan_to_num(scores).astype(np.float32)


def _categories(name: str, column: pd.Series, separator: str | None) -> Iterator[tuple[str, Array]]:
    from seedbed_sdk.blocks.category import label_text

    values = [
        [] if missing else (label_text(v).split(separator) if separator else [label_text(v)])
        for v, missing in zip(column, column.isna(), strict=True)
    ]
    counts = Counter(value for row in values for value in set(row))
    least = max(2.0, MIN_SHARE * len(values))
    frequent = sorted((v for v, n in counts.items() if n >= least), key=lambda v: (-counts[v], v))
    frequent = frequent[:MAX_FEATURES]
    place = {value: i for i, value in enumerate(frequent)}
    flags = np.zeros((len(values), len(frequent)), dtype=np.float32)
    for row, given in enumerate(values):
        for value in given:
            if value in place:
                flags[row, place[value]] = 1.0
    for i, value in enumerate(frequent):
        if flags[:, i].min() < flags[:, i].max():
            yield f"{name}={value}", flags[:, i]
