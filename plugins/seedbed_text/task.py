"""The tasks: one class, any number of labels, or a number for each text."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from seedbed_sdk.blocks import CategoryBlock, MultiCategoryBlock, RegressionBlock
from seedbed_sdk.blocks.tabular import infer_column_type
from seedbed_sdk.blocks.text import TextBlock
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.items import (
    USUAL_TARGETS,
    items_from,
    listed,
    select_columns,
    tables_of,
    target_columns,
)
from seedbed_sdk.splitters import choose_splitter
from seedbed_sdk.task import Task, TaskOptions
from seedbed_text import encoders

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from seedbed_sdk.blocks.base import TargetBlock
    from seedbed_sdk.dataset import Dataset

TEXT = "text"
USUAL_TEXTS = (TEXT, "message", "sentence", "review", "comment", "body", "content", "document")


class TextOptions(TaskOptions):
    """Options of the tasks on text."""

    text_column: str | list[str] = Field(
        "",
        description="The column of text in a table, or several whose texts are joined in this "
        "order. Empty takes the one column of free text.",
    )

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns that were named, if any."""
        named = self.text_column
        return tuple(named) if isinstance(named, list) else ((named,) if named else ())


class TextTask(Task[TextOptions]):
    """What the tasks on text have in common: how the texts are found and read."""

    options = TextOptions
    input_types: ClassVar[tuple[str, ...]] = ("text",)
    layouts: ClassVar[tuple[str, ...]] = ("table", "file_table")
    contents: ClassVar[tuple[str, ...]] = ("text",)

    @abstractmethod
    def _target(self, columns: tuple[str, ...]) -> TargetBlock:
        """The target block for the columns to predict. Raises InvalidArgument with `job.target`."""

    def missing(self) -> Sequence[str]:
        return encoders.missing()

    def data_block(self, dataset: Dataset, target: str, options: TextOptions) -> DataBlock:
        tables: Mapping[str, pd.DataFrame]
        splitter = choose_splitter(options, files="" if dataset.layout == "table" else TEXT)
        if dataset.layout == "table":
            tables = tables_of(dataset, self.name)
            texts = _text_columns(tables["train"], target, options)
            names = [str(name) for name in tables["train"].columns]
            targets = target_columns(target, [name for name in names if name not in texts])
        else:
            if options.text_columns:
                raise InvalidArgument(
                    "job.options.text_column",
                    f"{', '.join(options.text_columns)} cannot be read, since each text is a file "
                    "of this dataset; leave the option out",
                    reason="NO_TEXT_COLUMN",
                )
            files = items_from(dataset, target, column=TEXT)
            tables, texts, targets = files.splits, (TEXT,), files.targets
        splitter.check(tables["train"])
        dividing = tuple(splitter.columns.values())
        wanted = tuple(dict.fromkeys((*texts, *targets, *dividing)))
        items = {
            split: select_columns(split, table, wanted, dividing) for split, table in tables.items()
        }
        return DataBlock(
            inputs=[TextBlock(texts)],
            target=self._target(targets),
            items=items,
            splitter=splitter,
            max_bad_fraction=options.max_bad_fraction,
            notes=encoders.missing(),
        )


class TextClassification(TextTask):
    """One class for each text."""

    name: ClassVar[str] = "text_classification"
    title: ClassVar[str] = "Text classification"
    description: ClassVar[str] = (
        "Predicts one class for each text. Reads a table with a column of text, folders of text "
        "files named after classes, or a table with a column of file names beside the files."
    )
    target_types: ClassVar[tuple[str, ...]] = ("category",)
    layouts: ClassVar[tuple[str, ...]] = ("table", "class_folders", "file_table")

    def _target(self, columns: tuple[str, ...]) -> TargetBlock:
        return CategoryBlock(_single(columns, "one class", "text_multilabel"))


class TextMultiLabel(TextTask):
    """Any number of labels for each text."""

    name: ClassVar[str] = "text_multilabel"
    title: ClassVar[str] = "Text labels"
    description: ClassVar[str] = (
        "Predicts which of several labels apply to each text. The target is a column of labels "
        "with | ; or , between them, or several columns of 0 and 1, as in `toxic,insult`."
    )
    target_types: ClassVar[tuple[str, ...]] = ("multi_category",)

    def _target(self, columns: tuple[str, ...]) -> TargetBlock:
        return MultiCategoryBlock(columns)


class TextRegression(TextTask):
    """A number for each text."""

    name: ClassVar[str] = "text_regression"
    title: ClassVar[str] = "Numbers from text"
    description: ClassVar[str] = (
        "Predicts a number for each text, such as a price or a rating, from a table with a column "
        "of text or of names of text files."
    )
    target_types: ClassVar[tuple[str, ...]] = ("regression",)

    def _target(self, columns: tuple[str, ...]) -> TargetBlock:
        return RegressionBlock(_single(columns, "one number", "one job for each column"))


def _single(columns: tuple[str, ...], what: str, instead: str) -> str:
    if len(columns) > 1:
        raise InvalidArgument(
            "job.target",
            f"{', '.join(columns)} are several columns; {what} is predicted here; name one column, "
            f"or use {instead}",
            reason="SEVERAL_TARGETS",
        )
    return columns[0]


def _text_columns(table: pd.DataFrame, target: str, options: TextOptions) -> tuple[str, ...]:
    """The columns that the options name; else the only one of free text, or, where there is none,
    the only one of short text."""
    names = [str(name) for name in table.columns]
    targets = {target, *(part.strip() for part in target.split(","))}
    for name in options.text_columns:
        if name not in names or name in targets:
            what = "is the target" if name in targets else "is no column of the table"
            raise InvalidArgument(
                "job.options.text_column",
                f"{name!r} {what}; the columns are {listed(names)}",
                reason="UNKNOWN_COLUMN",
            )
    if options.text_columns:
        return options.text_columns
    usual_target = not target
    candidates = [
        name
        for name in names
        if name not in targets and not (usual_target and name.lower() in USUAL_TARGETS)
    ]
    kinds = {name: infer_column_type(table[name]) for name in candidates}
    for kind in ("text", "category"):
        found = [name for name in candidates if kinds[name] == kind]
        named = [name for name in found if name.lower() in USUAL_TEXTS]
        for choice in (found, named):
            if len(choice) == 1:
                return (choice[0],)
        if found:
            raise InvalidArgument(
                "job.options.text_column",
                f"not given, and {listed(found)} could each be the text; name one of them, or "
                "several to be joined",
                reason="TEXT_COLUMN_NOT_NAMED",
            )
    raise InvalidArgument(
        "job.dataset",
        f"no column holds text; the columns are {listed(names)}; name one in "
        "options.text_column to have its values read as text",
        reason="NO_TEXT_COLUMN",
    )
