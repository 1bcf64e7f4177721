"""Rows of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from seedbed_sdk.blocks.base import Array, Encoded, Field, InputBlock, ItemProblem
from seedbed_sdk.blocks.topics import TopicFeature, learn_topics, sampled
from seedbed_sdk.errors import InvalidArgument

if TYPE_CHECKING:
    import pandas as pd

AUTO = "auto"
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


class TabularBlock(InputBlock):
    """Columns of numbers, categories, dates, booleans and free text.

    `columns` maps the columns to read to their types, one of `COLUMN_TYPES` or `auto`; None takes
    every column of the training items, each by its values. Encoded as `numeric`: float32 [N, F],
    NaN where missing, in the columns' own scale, with booleans as 0 and 1, dates as parts and texts
    as up to 16 topics; and `categorical`: int32 [N, K], codes as `CategoryFeature` has them.
    Columns with nothing to learn from are left out; `ignored` says why.
    """

    type: ClassVar[str] = "tabular"
    version: ClassVar[int] = 2

    def __init__(self, columns: Mapping[str, str] | None = None) -> None:
        self.requested = dict(columns) if columns is not None else None
        self.specs: tuple[ColumnSpec, ...] = ()
        self.numeric: tuple[NumericFeature, ...] = ()
        self.categorical: tuple[CategoryFeature, ...] = ()
        self.topics: tuple[TopicFeature, ...] = ()
        self.ignored: dict[str, str] = {}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read; before `fit`, those that were asked for."""
        if not self.specs:
            return tuple(self.requested or ())
        return tuple(spec.name for spec in self.specs)

    def fields(self) -> tuple[Field, ...]:
        return tuple(Field(spec.name, spec.type) for spec in self.specs)

    def fit(self, items: pd.DataFrame) -> None:
        from seedbed_sdk.blocks.column_types import is_day_first

        requested = self.requested
        if requested is None:
            requested = {str(name): AUTO for name in items.columns}
        self._require(items, requested)
        specs: list[ColumnSpec] = []
        numeric: list[NumericFeature] = []
        categorical: list[CategoryFeature] = []
        topics: list[TopicFeature] = []
        left_out: dict[str, str] = {}
        for name, kind in requested.items():
            column = items[name]
            spec = ColumnSpec(name, infer_column_type(column) if kind == AUTO else kind)
            if spec.type == "date":
                spec = ColumnSpec(name, "date", is_day_first(column))
            of_text = spec.type == "text"
            features = _learn_text(column, topics) if of_text else _learn(spec, column)
            if isinstance(features, str):
                left_out[name] = features
            elif isinstance(features, CategoryFeature):
                categorical.append(features)
                specs.append(spec)
            else:
                numeric.extend(features)
                specs.append(spec)
        if not specs:
            reasons = "; ".join(f"{name!r} {reason}" for name, reason in list(left_out.items())[:8])
            raise InvalidArgument(
                "job.dataset",
                f"no column to learn from: {reasons or 'the table has no column but the target'}; "
                "at least one column of numbers, categories, dates or booleans that vary is needed",
                reason="NO_USABLE_COLUMN",
            )
        self.specs, self.ignored = tuple(specs), left_out
        self.numeric, self.categorical = tuple(numeric), tuple(categorical)
        self.topics = tuple(topics)

    def encode(self, items: pd.DataFrame) -> Encoded:
        """Raises InvalidArgument where a column is not there at all."""
        self._require(items, self.columns)
        numeric = np.zeros((len(items), len(self.numeric)), dtype=np.float32)
        categorical = np.zeros((len(items), len(self.categorical)), dtype=np.int32)
        places = {(f.column, f.part): i for i, f in enumerate(self.numeric)}
        vocabularies = {f.column: (i, f) for i, f in enumerate(self.categorical)}
        topics = {feature.column: feature for feature in self.topics}
        problems: list[ItemProblem] = []
        for spec in self.specs:
            column = items[spec.name]
            if spec.type == "category":
                place, feature = vocabularies[spec.name]
                categorical[:, place], wrong = _codes(column, feature)
            else:
                if spec.type == "text":
                    parts, wrong = _topic_parts(topics[spec.name], column), _not_text(column)
                else:
                    parts, wrong = _read(spec, column)
                for part, values in parts:
                    if (spec.name, part) in places:
                        place = places[spec.name, part]
                        numeric[:, place] = values - self.numeric[place].offset
            problems.extend(_problems(spec, column, wrong))
        bad = [problem.position for problem in problems]
        numeric[bad] = 0.0
        categorical[bad] = 0
        return Encoded({"numeric": numeric, "categorical": categorical}, problems)

    def state(self) -> dict[str, Any]:
        return {
            "requested": self.requested,
            "columns": [asdict(spec) for spec in self.specs],
            "numeric": [{**asdict(f), "edges": list(f.edges)} for f in self.numeric],
            "categorical": [
                {"column": f.column, "vocabulary": list(f.vocabulary)} for f in self.categorical
            ],
            "topics": [feature.state() for feature in self.topics],
            "left_out": self.ignored,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> TabularBlock:
        block = cls(state["requested"])
        block.specs = tuple(ColumnSpec(**spec) for spec in state["columns"])
        block.numeric = tuple(
            NumericFeature(**{**feature, "edges": tuple(feature["edges"])})
            for feature in state["numeric"]
        )
        block.categorical = tuple(
            CategoryFeature(feature["column"], tuple(feature["vocabulary"]))
            for feature in state["categorical"]
        )
        block.topics = tuple(map(TopicFeature.from_state, state["topics"]))
        block.ignored = dict(state["left_out"])
        return block

    @staticmethod
    def _require(items: pd.DataFrame, names: Mapping[str, str] | Sequence[str]) -> None:
        lacking = [name for name in names if name not in items.columns]
        if lacking:
            raise InvalidArgument(
                "job.dataset",
                f"no column {', '.join(map(repr, lacking))} among "
                f"{', '.join(map(str, items.columns)) or 'no columns at all'}",
                reason="MISSING_COLUMN",
            )


def infer_column_type(column: pd.Series) -> str:
    """The type that a column's values suggest: `numeric`, `category`, `date`, `text`, `boolean` or
    `empty`.

    Text that reads as numbers, dates or true/false throughout is taken as that. Other text is
    `text` where it is long (four words or 40 characters on average) and mostly different from row
    to row, else `category`.
    """
    from seedbed_sdk.blocks import column_types

    return column_types.infer_column_type(column)


# --- learning a column ---------------------------------------------------------------------------


def _learn(spec: ColumnSpec, column: pd.Series) -> str | CategoryFeature | list[NumericFeature]:
    """The features of a column, or why it is left out."""
    if spec.type == "empty":
        return "has no values"
    if spec.type == "category":
        return _learn_category(spec, column)
    parts, _ = _read(spec, column)
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


def _learn_text(column: pd.Series, topics: list[TopicFeature]) -> str | list[NumericFeature]:
    """The features of a column of text, whose topics are added to `topics`."""
    if _not_text(column).any():
        return "holds lists or other values that are neither text nor numbers"
    sample = sampled(column)
    topic = learn_topics(str(column.name), sample)
    if topic is None:
        return "holds free text without a word that occurs in two rows"
    features = []
    for part, values in _topic_parts(topic, sample):
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


def _read(spec: ColumnSpec, column: pd.Series) -> tuple[list[tuple[str, Array]], Array]:
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


def _topic_parts(topic: TopicFeature, column: pd.Series) -> list[tuple[str, Array]]:
    topics = topic.encode(column)
    return [(f"topic_{i + 1}", topics[:, i]) for i in range(topics.shape[1])]


def _not_text(column: pd.Series) -> Array:
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


def _codes(column: pd.Series, feature: CategoryFeature) -> tuple[Array, Array]:
    from seedbed_sdk.blocks.column_types import read_categories

    table = {value: i + FIRST_CODE for i, value in enumerate(feature.vocabulary)}
    codes, wrong = read_categories(column, table, OTHER)
    return np.where(codes < 0, MISSING, codes), wrong


def _problems(spec: ColumnSpec, column: pd.Series, wrong: Array) -> Iterator[ItemProblem]:
    from seedbed_sdk.blocks.column_types import describe

    for position in map(int, np.flatnonzero(wrong)):
        yield ItemProblem(
            position,
            f"row {column.index[position]}",
            f"column {spec.name!r} takes {_EXPECTED[spec.type]}, got "
            f"{describe(column.iloc[position])}; use null where it is unknown",
        )
