"""The task: predict one or several columns of a table from the others."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from seedbed_sdk.blocks import CategoryBlock, MultiTargetBlock, RegressionBlock, TabularBlock
from seedbed_sdk.blocks.tabular import AUTO, infer_column_type
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.errors import FieldViolation, InvalidArgument
from seedbed_sdk.items import listed, select_columns, tables_of, target_columns
from seedbed_sdk.splitters import choose_splitter
from seedbed_sdk.task import Task, TaskOptions

if TYPE_CHECKING:
    import pandas as pd

    from seedbed_sdk.dataset import Dataset

USUAL_TARGETS = ("target", "label", "class", "y", "outcome")
MAX_CLASS_NUMBERS = 20

ColumnType = Literal["numeric", "category", "date", "text", "boolean"]


class TabularOptions(TaskOptions):
    """Options of the tabular task."""

    target_type: Literal["auto", "category", "regression"] = Field(
        "auto",
        description="Whether the target is a class or a number. `auto`: text, booleans and whole "
        "numbers of at most 20 different values, each in two rows or more on average, are classes; "
        "other numbers are predicted as numbers. Of several targets each is looked at by itself.",
    )
    exclude: list[str] = Field(
        default_factory=list, description="Columns that are not to be used, such as row numbers."
    )
    column_types: dict[str, ColumnType] = Field(
        default_factory=dict,
        description="Types of columns, by name, where the type that their values suggest is wrong, "
        'such as {"postcode": "category"}. Of columns of type `text` the words are used.',
    )


class TabularTask(Task[TabularOptions]):
    """Classification and regression on rows of numbers, categories, dates, booleans and text."""

    name: ClassVar[str] = "tabular"
    title: ClassVar[str] = "Tabular analysis"
    description: ClassVar[str] = (
        "Predicts a column of a table, a class or a number, from the other columns; or several "
        "columns at once, named with commas between them."
    )
    options = TabularOptions
    input_types: ClassVar[tuple[str, ...]] = ("tabular",)
    target_types: ClassVar[tuple[str, ...]] = ("category", "regression", "multi_target")
    layouts: ClassVar[tuple[str, ...]] = ("table", "class_folders")

    def data_block(self, dataset: Dataset, target: str, options: TabularOptions) -> DataBlock:
        tables = tables_of(dataset, self.name)
        train = tables["train"]
        names = [str(name) for name in train.columns]
        splitter = choose_splitter(options)
        splitter.check(train)
        dividing = list(splitter.columns.values())
        targets = _find_targets(target, names)
        _check_options(options, targets, names)
        unused = {*targets, *options.exclude, *options.not_features}
        columns = [name for name in names if name not in unused]
        if not columns:
            raise InvalidArgument(
                "job.options.exclude" if options.exclude else "job.dataset",
                f"no column is left to predict {listed(targets)} from; the table has "
                f"{listed(names)}",
                reason="NO_USABLE_COLUMN",
            )
        wanted = list(dict.fromkeys([*columns, *targets, *dividing]))
        items = {s: select_columns(s, table, wanted, dividing) for s, table in tables.items()}
        parts = [_target_block(train[name], name, options.target_type) for name in targets]
        return DataBlock(
            inputs=[TabularBlock({c: options.column_types.get(c, AUTO) for c in columns})],
            target=parts[0] if len(parts) == 1 else MultiTargetBlock(parts),
            items=items,
            splitter=splitter,
            max_bad_fraction=options.max_bad_fraction,
        )


def _find_targets(target: str, names: Sequence[str]) -> tuple[str, ...]:
    if target:
        return target_columns(target, names)
    usual = [name for name in names if name.strip().lower() in USUAL_TARGETS]
    if len(usual) == 1:
        return (usual[0],)
    why = f"{listed(usual)} could each be it" if usual else "none has a usual name such as `target`"
    raise InvalidArgument(
        "job.target",
        f"name the column to predict: {why}; the columns are {listed(names)}",
        reason="TARGET_NOT_NAMED",
    )


def _check_options(options: TabularOptions, targets: Sequence[str], names: Sequence[str]) -> None:
    """Raises InvalidArgument for columns that do not exist, or that say something of the target."""
    violations: list[FieldViolation] = []
    given: Mapping[str, Iterable[str]] = {
        "job.options.exclude": options.exclude,
        "job.options.column_types": options.column_types,
    }
    for field, columns in given.items():
        for column in columns:
            if column not in names:
                violations.append(
                    FieldViolation(
                        field,
                        f"no column {column!r}{_suggestion(column, names)}; "
                        f"the columns are {listed(names)}",
                    )
                )
            elif column in targets:
                violations.append(FieldViolation(field, f"{column!r} is the target; leave it out"))
    if violations:
        raise InvalidArgument.of(violations, reason="UNKNOWN_COLUMN")


def _target_block(
    column: pd.Series, name: str, target_type: str
) -> CategoryBlock | RegressionBlock:
    if target_type == "auto":
        target_type = _infer_target_type(column, name)
    return CategoryBlock(name) if target_type == "category" else RegressionBlock(name)


def _infer_target_type(column: pd.Series, name: str) -> str:
    """`category` or `regression`, as the option `target_type` documents it."""
    import pandas as pd

    kind = infer_column_type(column)
    if kind in ("text", "date"):
        what = "free text" if kind == "text" else "dates"
        raise InvalidArgument(
            "job.target",
            f"column {name!r} holds {what} ({column.nunique()} different in {column.count()} "
            "rows), which cannot be predicted; name a column of classes or numbers, or set "
            'options.target_type to "category" to take each value as a class',
            reason="TARGET_UNSUITABLE",
        )
    if kind != "numeric":
        return "category"
    known = pd.to_numeric(column, errors="coerce").dropna()
    different = known.nunique()
    few = different <= MAX_CLASS_NUMBERS and 2 * different <= len(known)
    return "category" if few and bool((known % 1 == 0).all()) else "regression"


def _suggestion(given: str, names: Sequence[str]) -> str:
    by_lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(given.lower(), by_lower, n=1)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""
