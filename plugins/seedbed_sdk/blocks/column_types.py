"""What a table's column holds, and how its values are read.

Every `read_*` function takes a column of N values, which may be of any dtype and may mix Python
values, and returns the values read [N] and a mask [N] of those that are there and are not of the
type. Missing values (None, NaN, NaT, blank text) are NaN or -1 and never wrong.
"""

from __future__ import annotations

import datetime
import decimal
import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seedbed_sdk.blocks.category import label_text

COLUMN_TYPES = ("numeric", "category", "date", "text", "boolean", "empty")
MAX_MAGNITUDE = 1e30
TEXT_WORDS = 4.0
TEXT_LENGTH = 40.0
TEXT_DISTINCT = 0.3
FEW_DISTINCT = 20

_MISSING_WORDS = ("", "?", "-", "na", "n/a", "nan", "null", "none", "nat")
_BOOLEANS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}
_NUMBERS = ("integer", "floating", "decimal", "mixed-integer-float")
_DATES = ("datetime", "datetime64", "date")
_SCALARS = (str, bool, int, float, decimal.Decimal, datetime.date, np.generic)
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DATE = re.compile(
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}"
    r"|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}"
    r"|\d{1,2}/\d{1,2}/\d{2}"
    rf"|\d{{1,2}}[ -]{_MONTH}[ ,-]+\d{{4}}"
    rf"|{_MONTH} \d{{1,2}},? \d{{4}})"
    r"(?:[T ,]+\d{1,2}:\d{2}.*)?",
    re.IGNORECASE,
)
_DAY_FIRST = re.compile(r"\s*(?:(?:1[3-9]|2\d|3[01])[-/]\d{1,2}[-/]|\d{1,2}\.\d{1,2}\.\d{4})")

Floats = NDArray[Any]
Mask = NDArray[np.bool_]
Codes = NDArray[np.int64]


def infer_column_type(column: pd.Series) -> str:
    """One of `COLUMN_TYPES`, from all values.

    Text that reads as numbers, as dates or as true/false throughout is taken as that, where blanks
    and words such as `NA` and `?` count as missing. Other text is `text` where it is long (four
    words or 40 characters on average) and mostly different from row to row, else `category`. Lists
    and other values that are not scalars count as `text`.
    """
    values = column.dropna()
    if values.empty:
        return "empty"
    if pd.api.types.is_bool_dtype(values.dtype):
        return "boolean"
    if pd.api.types.is_numeric_dtype(values.dtype):
        return "numeric"
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return "date"
    if isinstance(values.dtype, pd.CategoricalDtype):
        return "category"
    kind = pd.api.types.infer_dtype(values, skipna=True)
    if kind in ("boolean", *_NUMBERS, *_DATES):
        return "boolean" if kind == "boolean" else "numeric" if kind in _NUMBERS else "date"
    if kind != "string" and not all(isinstance(value, _SCALARS) for value in values):
        return "text"
    return _infer_text_type(values.astype(str).str.strip())


def _infer_text_type(texts: pd.Series) -> str:
    texts = texts[~texts.str.lower().isin(_MISSING_WORDS)]
    if texts.empty:
        return "empty"
    distinct = texts.drop_duplicates()
    if distinct.str.lower().isin(("true", "false")).all():
        return "boolean"
    if pd.to_numeric(distinct, errors="coerce").notna().all():
        return "numeric"
    if distinct.map(lambda text: _DATE.fullmatch(text) is not None).all():
        _, wrong = read_dates(distinct, is_day_first(distinct))
        if not wrong.any():
            return "date"
    long = (
        distinct.str.count(r"\s+").mean() + 1 >= TEXT_WORDS
        or distinct.str.len().mean() >= TEXT_LENGTH
    )
    varied = len(distinct) > max(FEW_DISTINCT, TEXT_DISTINCT * len(texts))
    return "text" if long and varied else "category"


def read_numbers(column: pd.Series) -> tuple[Floats, Mask]:
    """Numbers, or text that reads as one. Infinite values count as missing; magnitudes are cut off
    at 1e30, so that standard scores of them fit into float32."""
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return np.full(len(column), np.nan), column.notna().to_numpy()
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = np.isnan(numbers)
    if wrong.any():
        wrong &= ~_is_missing(column)
    finite = numbers.astype(np.float64)
    finite[np.isinf(finite)] = np.nan
    finite.clip(-MAX_MAGNITUDE, MAX_MAGNITUDE, out=finite)
    return finite, wrong


def read_booleans(column: pd.Series) -> tuple[Floats, Mask]:
    """1.0 and 0.0 for true and false, 1 and 0, or their text."""
    if column.dtype == np.bool_:
        return column.to_numpy(dtype=np.float64), np.zeros(len(column), dtype=np.bool_)
    values = [str(value).strip().lower() for value in column]
    numbers = np.array([_BOOLEANS.get(value, np.nan) for value in values], dtype=np.float64)
    return numbers, np.isnan(numbers) & ~_is_missing(column)


def read_dates(column: pd.Series, day_first: bool) -> tuple[pd.Series, Mask]:
    """Times in UTC without a zone [N] as datetime64; a time with a zone is converted. `day_first`
    decides what 03/04/2024 means."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        nothing = pd.Series(pd.NaT, index=column.index, dtype="datetime64[ns]")
        return nothing, column.notna().to_numpy()
    numbers = np.zeros(len(column), dtype=np.bool_)
    if column.dtype == object:
        numbers = np.array([isinstance(v, bool | int | float | np.number) for v in column], bool)
        numbers &= column.notna().to_numpy()
        column = column.where(~numbers)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Parsing dates in")
        dates = pd.to_datetime(
            column, errors="coerce", utc=True, format="mixed", dayfirst=day_first
        ).dt.tz_localize(None)
    wrong = dates.isna().to_numpy()
    if wrong.any():
        wrong = wrong & ~_is_missing(column)
    return dates, wrong | numbers


def is_day_first(column: pd.Series) -> bool:
    """Whether dates in text have the day before the month: some first number is above 12, or dots
    separate them."""
    texts = (value for value in column.dropna().unique() if isinstance(value, str))
    return any(_DAY_FIRST.match(text) for text in texts)


def read_categories(column: pd.Series, codes: Mapping[str, int], other: int) -> tuple[Codes, Mask]:
    """The code of each value's text, `other` for one that has none, -1 where it is missing."""
    numbers, values = count_off(column)
    table = np.array([codes.get(value, other) for value in values] + [-1], dtype=np.int64)
    return table[np.maximum(numbers, -1)], numbers == -2


def count_off(column: pd.Series) -> tuple[Codes, list[str]]:
    """The distinct values as text, and for each item the index of its own: -1 where it is missing
    and -2 where it is no scalar."""
    wrong = np.zeros(len(column), dtype=np.bool_)
    if column.dtype == object:
        wrong = np.array([v is not None and not isinstance(v, _SCALARS) for v in column], bool)
        wrong &= ~(column.isna().to_numpy())
        column = column.where(~wrong)
    numbers, values = pd.factorize(column)
    texts: dict[str, int] = {}
    table = np.full(len(values) + 1, -1, dtype=np.int64)
    for i, value in enumerate(values):
        text = label_text(value).strip()
        if text:
            table[i] = texts.setdefault(text, len(texts))
    return np.where(wrong, -2, table[numbers]), list(texts)


def describe(value: object) -> str:
    """A value with its type, as a message names it."""
    if isinstance(value, str):
        return f"text {value[:40]!r}"
    if isinstance(value, bool | np.bool_):
        return f"boolean {value}"
    if isinstance(value, int | float | decimal.Decimal | np.number):
        return f"number {value}"
    if isinstance(value, datetime.date | np.datetime64):
        return f"date {value}"
    return f"{type(value).__name__} {str(value)[:40]!r}"


def _is_missing(column: pd.Series) -> Mask:
    missing = column.isna().to_numpy()
    if pd.api.types.is_numeric_dtype(column.dtype):
        return missing
    if column.dtype != object:
        codes, distinct = pd.factorize(column)
        words = [str(value).strip().lower() in _MISSING_WORDS for value in distinct]
        return np.array([*words, True], dtype=np.bool_)[codes]
    rest = np.flatnonzero(~missing)
    words = [str(value).strip().lower() in _MISSING_WORDS for value in column.iloc[rest]]
    missing = missing.copy()
    missing[rest] = words
    return missing
