"""Rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from seedbed_sdk.blocks.base import Encoded, Field, InputBlock, ItemProblem
from seedbed_sdk.blocks.column_features import (
    CategoryFeature,
    ColumnSpec,
    NumericFeature,
    codes_of,
    learn,
    learn_text,
    not_text,
    problems_of,
    read,
    topic_parts,
)
from seedbed_sdk.blocks.topics import TopicFeature
from seedbed_sdk.errors import InvalidArgument

if TYPE_CHECKING:
    import pandas as pd

AUTO = "auto"


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
    max_fit_cells: ClassVar[int] = 20_000_000

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
            features = learn_text(column, topics) if of_text else learn(spec, column)
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
                categorical[:, place], wrong = codes_of(column, feature)
            else:
                if spec.type == "text":
                    parts, wrong = topic_parts(topics[spec.name], column), not_text(column)
                else:
                    parts, wrong = read(spec, column)
                for part, values in parts:
                    if (spec.name, part) in places:
                        place = places[spec.name, part]
                        numeric[:, place] = values - self.numeric[place].offset
            problems.extend(problems_of(spec, column, wrong))
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
