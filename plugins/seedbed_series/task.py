"""The task of classifying time series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from seedbed_sdk.blocks.category import CategoryBlock
from seedbed_sdk.blocks.series import SeriesBlock, parse_series
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.items import listed, select_columns, tables_of, target_columns
from seedbed_sdk.splitters import choose_splitter
from seedbed_sdk.task import Task, TaskOptions

if TYPE_CHECKING:
    import pandas as pd

    from seedbed_sdk.dataset import Dataset

MIN_VALUES = 4
LOOKED_AT = 20


class SeriesOptions(TaskOptions):
    """Options of time series classification."""

    value_columns: list[str] = Field(
        default_factory=list,
        description="The columns of values, in order of time where a row is a series; one for each "
        "channel where a column holds lists or a row is a point in time. Empty: found out.",
    )
    value_prefix: str = Field(
        "", description="How the names of the value columns begin, instead of listing them."
    )
    series_column: str = Field(
        "",
        description="For tables with a row for each point in time: the column that says which "
        "series it belongs to.",
    )
    order_column: str = Field(
        "",
        description="For tables with a row for each point in time: the column to sort a series by. "
        "Empty: the order of the rows. (`time_column` is about which series are for testing.)",
    )
    scale: Literal["dataset", "series"] = Field(
        "dataset",
        description="What values are standardised by: all training series together, which keeps "
        "how large a series is, or each series by itself, which leaves its shape.",
    )


class TimeSeriesClassification(Task[SeriesOptions]):
    """One class for each series of numbers."""

    name: ClassVar[str] = "time_series_classification"
    title: ClassVar[str] = "Time series classification"
    description: ClassVar[str] = (
        "Predicts one class for each series of numbers over time, of any length, with one or "
        "several channels. Reads tables with a row a series, whose numeric columns are its values; "
        "with a column of lists for each channel; or with a row for each point in time and a "
        "column that tells the series apart."
    )
    options = SeriesOptions
    input_types: ClassVar[tuple[str, ...]] = ("series",)
    target_types: ClassVar[tuple[str, ...]] = ("category",)
    layouts: ClassVar[tuple[str, ...]] = ("table",)

    def data_block(self, dataset: Dataset, target: str, options: SeriesOptions) -> DataBlock:
        tables = tables_of(dataset, self.name)
        train = tables["train"]
        names = [str(name) for name in train.columns]
        _check_names(options, names)
        splitter = choose_splitter(options)
        splitter.check(train)
        dividing = list(splitter.columns.values())
        keys = [name for name in (options.series_column, options.order_column) if name]
        keys += [name for name in dividing if name not in keys]
        found = target_columns(target, [name for name in names if name not in keys])
        if len(found) > 1:
            raise InvalidArgument(
                "job.target",
                f"{', '.join(found)} are several columns; one class is predicted here; name one",
                reason="SEVERAL_TARGETS",
            )
        target = found[0]
        values = _value_columns(train, [n for n in names if n not in (target, *keys)], options)
        wide = not options.series_column and not _holds_lists(train, values)
        if wide and len(values) < MIN_VALUES:
            raise InvalidArgument(
                "job.dataset",
                f"a series of {len(values)} values ({listed(values)}) is too short; a row needs "
                f"at least {MIN_VALUES}. Where a row is a point in time, name the column that "
                "tells the series apart in options.series_column",
                reason="SERIES_TOO_SHORT",
            )
        wanted = [*keys, *values, target]
        items = {s: select_columns(s, table, wanted, dividing) for s, table in tables.items()}
        if options.series_column:
            items = {s: _gathered(table, values, target, options) for s, table in items.items()}
        ignored = {n: "it holds no values of a series" for n in names if n not in wanted}
        series = SeriesBlock(
            values, wide=wide, per_series=options.scale == "series", ignored=ignored
        )
        return DataBlock(
            inputs=[series],
            target=CategoryBlock(target),
            items=items,
            splitter=splitter,
            max_bad_fraction=options.max_bad_fraction,
            notes=(f"not used: {listed(list(ignored))}",) if ignored else (),
        )


def _check_names(options: SeriesOptions, names: Sequence[str]) -> None:
    given = {
        "value_columns": options.value_columns,
        "series_column": [options.series_column] if options.series_column else [],
        "order_column": [options.order_column] if options.order_column else [],
    }
    for option, columns in given.items():
        unknown = [column for column in columns if column not in names]
        if unknown:
            raise InvalidArgument(
                f"job.options.{option}",
                f"no column {unknown[0]!r}; the columns are {listed(names)}",
                reason="UNKNOWN_COLUMN",
            )
    if options.order_column and not options.series_column:
        raise InvalidArgument(
            "job.options.series_column",
            "empty, and order_column is given; name the column that tells the series apart",
            reason="MISSING_OPTION",
        )


def _value_columns(train: pd.DataFrame, candidates: list[str], options: SeriesOptions) -> list[str]:
    """The columns given, or those with the prefix; else those of lists where there are any, else
    all that are numeric."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if options.value_columns:
        return list(options.value_columns)
    named = [name for name in candidates if name.startswith(options.value_prefix)]
    lists = [] if options.series_column else [n for n in named if _holds_lists(train, [n])]
    found = lists or [
        n for n in named if is_numeric_dtype(train[n].dtype) and not is_bool_dtype(train[n].dtype)
    ]
    if not found:
        field = "job.options.value_prefix" if options.value_prefix else "job.dataset"
        raise InvalidArgument(
            field,
            f"none of the columns {listed(candidates)} holds numbers"
            + (f" and begins with {options.value_prefix!r}" if options.value_prefix else ""),
            reason="NO_VALUE_COLUMNS",
        )
    return found


def _holds_lists(table: pd.DataFrame, columns: Sequence[str]) -> bool:
    """Whether the first values of the columns are lists, or text of several numbers."""
    for column in columns:
        known = table[column].dropna().iloc[:LOOKED_AT]
        parsed = [parse_series(value) for value in known]
        if not any(series is not None and len(series) > 1 for series in parsed):
            return False
    return bool(columns)


def _gathered(
    table: pd.DataFrame, values: list[str], target: str, options: SeriesOptions
) -> pd.DataFrame:
    """A row for each series, with arrays of its values and its last value of other columns."""
    import pandas as pd

    if options.order_column:
        table = table.sort_values(options.order_column, kind="stable")
    columns: dict[str, list[object]] = {str(name): [] for name in table.columns}
    others = [name for name in columns if name not in (*values, target)]
    keys = []
    for key, rows in table.groupby(options.series_column, sort=True):
        labels = rows[target].dropna().unique()
        if len(labels) > 1:
            raise InvalidArgument(
                "job.target",
                f"series {key!r} has several classes in column {target!r}, such as {labels[0]!r} "
                f"and {labels[1]!r}; every row of a series needs the same",
                reason="SEVERAL_CLASSES_IN_A_SERIES",
            )
        keys.append(key)
        columns[target].append(labels[0] if len(labels) else None)
        for name in others:
            columns[name].append(rows[name].iloc[-1])
        for name in values:
            numbers = pd.to_numeric(rows[name], errors="coerce").to_numpy(dtype=np.float64)
            columns[name].append(numbers)
    index = pd.Index(keys)
    as_objects = (*values, target)
    return pd.DataFrame(
        {
            name: pd.Series(column, index=index, dtype=object if name in as_objects else None)
            for name, column in columns.items()
        }
    )
