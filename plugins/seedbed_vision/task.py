"""The task of classifying pictures."""

from __future__ import annotations

import difflib
from typing import ClassVar

import pandas as pd

from seedbed_sdk.blocks import CategoryBlock, ImageBlock
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.dataset import Dataset, DataSplit, FileRef
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.splitters import RandomSplitter
from seedbed_sdk.task import Task, TaskOptions
from seedbed_vision import backbones

IMAGE = "image"
LABEL = "label"
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm")
NAMED_SHARE = 0.5


class ImageClassification(Task[TaskOptions]):
    """One class for each picture, by its folder or by a table that names files."""

    name: ClassVar[str] = "image_classification"
    title: ClassVar[str] = "Image classification"
    description: ClassVar[str] = (
        "Predicts one class for each picture. Reads folders named after classes, or a table with a "
        "column of file names beside the pictures; as a folder or an archive. Subfolders train/, "
        "valid/ and test/ are recognised as splits."
    )
    options = TaskOptions
    input_types: ClassVar[tuple[str, ...]] = ("image",)
    target_types: ClassVar[tuple[str, ...]] = ("category",)
    layouts: ClassVar[tuple[str, ...]] = ("class_folders", "image_table")

    def data_block(self, dataset: Dataset, target: str, options: TaskOptions) -> DataBlock:
        if dataset.layout == "class_folders":
            if target not in ("", LABEL):
                raise InvalidArgument(
                    "job.target",
                    f"{target!r} is no column: the classes are the names of the pictures' folders; "
                    "leave the target empty",
                    reason="UNKNOWN_COLUMN",
                )
            items = {split: _by_folder(data) for split, data in dataset.splits.items()}
        else:
            items = _by_table(dataset, target)
        images = ImageBlock(IMAGE)
        images.fit(items["train"])
        notes = () if backbones.available() else (backbones.NOTHING_PRETRAINED,)
        return DataBlock(
            inputs=[images],
            target=CategoryBlock(LABEL),
            items=items,
            splitter=RandomSplitter(options.valid_fraction, options.test_fraction),
            max_bad_fraction=options.max_bad_fraction,
            notes=notes,
        )


def _by_folder(split: DataSplit) -> pd.DataFrame:
    files = list(split.files)
    frame = pd.DataFrame({IMAGE: pd.Series(files, dtype=object)})
    frame[LABEL] = [file.path.parent.name for file in files]
    return frame


def _by_table(dataset: Dataset, target: str) -> dict[str, pd.DataFrame]:
    train = dataset.splits["train"]
    assert train.table is not None
    column = _file_column(train)
    others = [str(name) for name in train.table.columns if name != column]
    target = _target_column(target, others)
    return {
        split: _named_files(split, data, column, target) for split, data in dataset.splits.items()
    }


def _file_column(split: DataSplit) -> str:
    """The column most of whose values name files of the dataset."""
    assert split.table is not None
    names = {file.name for file in split.files} | {file.path.name for file in split.files}
    for column in split.table.columns:
        values = split.table[column].dropna().astype(str)
        if len(values) and values.isin(names).mean() > NAMED_SHARE:
            return str(column)
    raise InvalidArgument(
        "job.dataset",
        f"no column of {', '.join(map(str, split.table.columns))} names files of the dataset",
        reason="NO_FILE_COLUMN",
    )


def _target_column(target: str, columns: list[str]) -> str:
    if not target and len(columns) == 1:
        return columns[0]
    if not target:
        found = [name for name in columns if name.lower() in (LABEL, "class", "target", "category")]
        if len(found) == 1:
            return found[0]
    if target in columns:
        return target
    close = difflib.get_close_matches(target, columns, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    given = f"no column {target!r}" if target else "several columns could be the class"
    raise InvalidArgument(
        "job.target", f"{given}; there are {', '.join(columns)}{hint}", reason="UNKNOWN_COLUMN"
    )


def _named_files(split: str, data: DataSplit, column: str, target: str) -> pd.DataFrame:
    assert data.table is not None
    missing = [name for name in (column, target) if name not in data.table.columns]
    if missing:
        raise InvalidArgument(
            "job.dataset",
            f"the table of the {split} split lacks {', '.join(map(repr, missing))}; "
            f"it has {', '.join(map(str, data.table.columns))}",
            reason="UNKNOWN_COLUMN",
        )
    by_name = {file.path.name: file for file in data.files}
    by_name.update({file.name: file for file in data.files})
    names = data.table[column].astype(str)
    files = [by_name.get(name, _absent(name)) for name in names]
    frame = pd.DataFrame({IMAGE: pd.Series(files, dtype=object)})
    frame[LABEL] = data.table[target].to_numpy()
    return frame


def _absent(name: str) -> FileRef:
    def read() -> bytes:
        raise FileNotFoundError(2, "no such file in the dataset", name)

    return FileRef(name, read)
