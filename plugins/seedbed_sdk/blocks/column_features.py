"""What a table's columns are learned as, and how their values become numbers and codes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seedbed_sdk.blocks.base import Array, ItemProblem
from seedbed_sdk.blocks.topics import TopicFeature, learn_topics, sampled

if TYPE_CHECKING:
    import pandas as pd

MISSING = 0
OTHER = 1
FIRST_CODE = 2
RARE_BELOW = 2
MAX_VOCABULARY = 10_000
MAX_EDGES = 33
SHIFT_ABOVE = 1_000.0
MICROSECONDS_A_DAY = 86_400_000_000
VALUE = "value"
DATE_PARTS = ("year", "month", "day_of_week", "day_of_year", "hour", "elapsed_days")

_EXPECTED = {
    "numeric": "a number",
    "boolean": "true or false",
    "date": "a date such as 2024-05-31",
    "category": "text, a number or a boolean",
    "text": "text",
}


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """A column that is read. `day_first` says what 03/04/2024 means in a date column."""

    name: str
    type: str
    day_first: bool = False


@dataclass(frozen=True, slots=True)
class NumericFeature:
    """A column of the array `numeric`: a numeric or boolean column, a part of a date, or a topic
    of a text.

    Encoded values have `offset` subtracted; it is 0 unless the values are so far from zero that
    float32 would lose their differences. `mean`, `std` (above 0), `median` and `edges` (rising
    quantiles, at least two unless the value is constant) describe the encoded training values
    without the missing ones.
    """

    column: str
    part: str
    offset: float
    mean: float
    std: float
    median: float
    edges: tuple[float, ...]

    @property
    def name(self) -> str:
        return self.column if self.part == VALUE else f"{self.column}.{self.part}"


@dataclass(frozen=True, slots=True)
class CategoryFeature:
    """A column of the array `categorical`. The code of a value is its place in `vocabulary` plus 2;
    0 is a missing value and 1 any other."""

    column: str
    vocabulary: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.column

    @property
    def cardinality(self) -> int:
        """How many codes there are."""
        return len(self.vocabulary) + FIRST_CODE


# --- learning a column ---------------------------------------------------------------------------


def learn(spec: ColumnSpec, column: pd.Series) -> str | CategoryFeature | list[NumericFeature]:
    """The features of a column, or why it is left out."""
    if spec.type == "empty":
        return "has no values"
    if spec.type == "category":
        return _learn_category(spec, column)
    parts, _ = read(spec, column)
    features: list[NumericFeature] = []
    constant = ""
    for part, values in parts:
        known = values[~np.isnan(values)]
        if not known.size:
            return f"has no value that is {_EXPECTED[spec.type]}"
        if known.min() < known.max():
            features.append(_learn_numbers(spec.name, part, known))
        elif len(known) < len(values):
            constant = part
    if features:
        return features
    if constant:
        # A single value that is sometimes missing: whether it is there may tell something.
        (known,) = (values[~np.isnan(values)] for part, values in parts if part == constant)
        return [_learn_numbers(spec.name, constant, known)]
    return "has the same value in every row"


def learn_text(column: pd.Series, topics: list[TopicFeature]) -> str | list[NumericFeature]:
    """The features of a column of text, whose topics are added to `topics`."""
    if not_text(column).any():
        return "holds lists or other values that are neither text nor numbers"
    sample = sampled(column)
    topic = learn_topics(str(column.name), sample)
    if topic is None:
        return "holds free text without a word that occurs in two rows"
    features = []
    for part, values in topic_parts(topic, sample):
        known = values[~np.isnan(values)]
        if known.min() < known.max():
            features.append(_learn_numbers(topic.column, part, known))
    if not features:
        return "holds free text that is the same in every row"
    topics.append(topic)
    return features


def _learn_numbers(column: str, part: str, known: Array) -> NumericFeature:
    median = float(np.median(known))
    offset = median if abs(median) > SHIFT_ABOVE * float(known.std()) else 0.0
    shifted = (known - offset).astype(np.float32).astype(np.float64)
    return NumericFeature(
        column,
        part,
        offset,
        float(shifted.mean()),
        float(shifted.std()) or 1.0,
        float(np.median(shifted)),
        tuple(_edges(shifted).tolist()),
    )


def _edges(values: Array) -> Array:
    """Quantiles, each a value that occurs. Where a few values are so frequent that some of them
    coincide, quantiles of the different values, so that the rare ones are told apart too."""
    shares = np.linspace(0.0, 1.0, MAX_EDGES)
    edges = np.unique(np.quantile(values, shares, method="inverted_cdf"))
    if len(edges) == MAX_EDGES:
        return edges
    return np.unique(np.quantile(np.unique(values), shares, method="inverted_cdf"))


def _learn_category(spec: ColumnSpec, column: pd.Series) -> str | CategoryFeature:
    from seedbed_sdk.blocks.column_types import count_off

    numbers, values = count_off(column)
    counts = np.bincount(numbers[numbers >= 0], minlength=len(values))
    frequent = [i for i in np.argsort(-counts, kind="stable") if counts[i] >= RARE_BELOW]
    vocabulary = sorted(values[i] for i in frequent[:MAX_VOCABULARY])
    if not values:
        return "has no values"
    if not vocabulary:
        return "has a different value in every row"
    if len(values) == 1 and (numbers >= 0).all():
        return "has the same value in every row"
    return CategoryFeature(spec.name, tuple(vocabulary))


# --- reading a column ----------------------------------------------------------------------------


def read(spec: ColumnSpec, column: pd.Series) -> tuple[list[tuple[str, Array]], Array]:
    """The numbers of a numeric, boolean or date column by part, and the mask of wrong values."""
    from seedbed_sdk.blocks.column_types import read_booleans, read_dates, read_numbers

    if spec.type == "numeric":
        numbers, wrong = read_numbers(column)
        return [(VALUE, numbers)], wrong
    if spec.type == "boolean":
        numbers, wrong = read_booleans(column)
        return [(VALUE, numbers)], wrong
    dates, wrong = read_dates(column, spec.day_first)
    return list(_date_parts(dates)), wrong


def topic_parts(topic: TopicFeature, column: pd.Series) -> list[tuple[str, Array]]:
    """The topics of each text as float32 [N] by part; NaN where the text is missing."""
    topics = topic.encode(column)
    return [(f"topic_{i + 1}", topics[:, i]) for i in range(topics.shape[1])]


def not_text(column: pd.Series) -> Array:
    """Which values are lists, mappings and the like."""
    if column.dtype != object:
        return np.zeros(len(column), dtype=np.bool_)
    return np.array([isinstance(v, list | tuple | set | dict | np.ndarray) for v in column], bool)


def _date_parts(dates: pd.Series) -> Iterator[tuple[str, Array]]:
    # Nanoseconds would end in 2262; microseconds hold every year that Python knows.
    dates = dates.dt.as_unit("us")
    microseconds = dates.to_numpy().astype(np.int64)
    elapsed = np.where(dates.isna(), np.nan, microseconds / MICROSECONDS_A_DAY)
    calendar = dates.dt
    numbers = (
        calendar.year,
        calendar.month,
        calendar.day_of_week,
        calendar.day_of_year,
        calendar.hour,
    )
    for part, values in zip(DATE_PARTS, numbers, strict=False):
        yield part, values.to_numpy(dtype=np.float64, na_value=np.nan)
    yield DATE_PARTS[-1], elapsed


def codes_of(column: pd.Series, feature: CategoryFeature) -> tuple[Array, Array]:
    """The codes of the values, int64 [N], and the mask of values that are no scalars."""
    from seedbed_sdk.blocks.column_types import read_categories

    table = {value: i + FIRST_CODE for i, value in enumerate(feature.vocabulary)}
    codes, wrong = read_categories(column, table, OTHER)
    return np.where(codes < 0, MISSING, codes), wrong


def problems_of(spec: ColumnSpec, column: pd.Series, wrong: Array) -> Iterator[ItemProblem]:
    """A problem for each item whose value is wrong, saying what was expected."""
    from seedbed_sdk.blocks.column_types import describe

    for position in map(int, np.flatnonzero(wrong)):
        yield ItemProblem(
            position,
            f"row {column.index[position]}",
            f"column {spec.name!r} takes {_EXPECTED[spec.type]}, got "
            f"{describe(column.iloc[position])}; use null where it is unknown",
        )
