"""The tasks that predict classes or a number for each picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from seedbed_sdk.blocks import (
    CategoryBlock,
    ImageBlock,
    MultiCategoryBlock,
    RegressionBlock,
    TargetBlock,
)
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.dataset import Dataset, FileRef
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.items import items_from
from seedbed_sdk.splitters import choose_splitter
from seedbed_sdk.task import Task, TaskOptions
from seedbed_vision import backbones

if TYPE_CHECKING:
    import pandas as pd

IMAGE = "image"
COMPARED = 20


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
    layouts: ClassVar[tuple[str, ...]] = ("class_folders", "file_table")
    contents: ClassVar[tuple[str, ...]] = ("image",)

    def missing(self) -> Sequence[str]:
        return backbones.missing()

    def data_block(self, dataset: Dataset, target: str, options: TaskOptions) -> DataBlock:
        items = items_from(dataset, target, column=IMAGE)
        column = _only(
            items.targets, "one class is predicted here; name one, or use the task image_multilabel"
        )
        return _of_pictures(items.splits, CategoryBlock(column), options)


class ImageMultilabel(Task[TaskOptions]):
    """Any number of classes for each picture."""

    name: ClassVar[str] = "image_multilabel"
    title: ClassVar[str] = "Several labels for an image"
    description: ClassVar[str] = (
        "Predicts which of several labels apply to each picture. Reads a table that names files, "
        "with a column of labels with | or , or ; between them, or a column of 0 and 1 for each "
        "label (target `a,b,c`); or folders named after labels, where a picture lies in the folder "
        "of each label it has, under the same file name."
    )
    options = TaskOptions
    input_types: ClassVar[tuple[str, ...]] = ("image",)
    target_types: ClassVar[tuple[str, ...]] = ("multi_category",)
    layouts: ClassVar[tuple[str, ...]] = ("class_folders", "file_table")
    contents: ClassVar[tuple[str, ...]] = ("image",)

    def missing(self) -> Sequence[str]:
        return backbones.missing()

    def data_block(self, dataset: Dataset, target: str, options: TaskOptions) -> DataBlock:
        items = items_from(dataset, target, column=IMAGE)
        splits = items.splits
        if dataset.layout == "class_folders":
            (label,) = items.targets
            splits = {split: _merged(frame, label) for split, frame in splits.items()}
        return _of_pictures(splits, MultiCategoryBlock(items.targets), options)


class ImageRegression(Task[TaskOptions]):
    """A number for each picture, from a table that names files."""

    name: ClassVar[str] = "image_regression"
    title: ClassVar[str] = "A number from an image"
    description: ClassVar[str] = (
        "Predicts a number for each picture, such as an age or a count, with an interval. Reads a "
        "table with a column of file names beside the pictures and a column of numbers."
    )
    options = TaskOptions
    input_types: ClassVar[tuple[str, ...]] = ("image",)
    target_types: ClassVar[tuple[str, ...]] = ("regression",)
    layouts: ClassVar[tuple[str, ...]] = ("file_table",)
    contents: ClassVar[tuple[str, ...]] = ("image",)

    def missing(self) -> Sequence[str]:
        return backbones.missing()

    def data_block(self, dataset: Dataset, target: str, options: TaskOptions) -> DataBlock:
        items = items_from(dataset, target, column=IMAGE)
        column = _only(items.targets, "one number is predicted; name one column")
        return _of_pictures(items.splits, RegressionBlock(column), options)


def _only(targets: tuple[str, ...], otherwise: str) -> str:
    if len(targets) > 1:
        raise InvalidArgument(
            "job.target",
            f"{', '.join(targets)} are several columns; {otherwise}",
            reason="SEVERAL_TARGETS",
        )
    return targets[0]


def _of_pictures(
    splits: Mapping[str, pd.DataFrame], target: TargetBlock, options: TaskOptions
) -> DataBlock:
    images = ImageBlock(IMAGE)
    images.fit(splits["train"])
    return DataBlock(
        inputs=[images],
        target=target,
        items=splits,
        splitter=choose_splitter(options, files=IMAGE),
        max_bad_fraction=options.max_bad_fraction,
        notes=backbones.missing(),
    )


def _merged(items: pd.DataFrame, label: str) -> pd.DataFrame:
    """One item for each file name, with the labels of all folders it lies in.

    Raises InvalidArgument where files of one name are different pictures.
    """
    import pandas as pd

    places: dict[str, list[FileRef]] = {}
    labels: dict[str, list[str]] = {}
    for file, found in zip(items[IMAGE], items[label], strict=True):
        places.setdefault(file.path.name, []).append(file)
        labels.setdefault(file.path.name, []).append(found)
    repeated = [files for files in places.values() if len(files) > 1]
    for first, second, *_ in repeated[:COMPARED]:
        if first.read() != second.read():
            raise InvalidArgument(
                "job.dataset",
                f"{first.name} and {second.name} are different pictures of the same name; a "
                "picture with several labels lies in the folder of each under one name; give "
                "others different names, or use the task image_classification",
                reason="AMBIGUOUS_NAMES",
            )
    images = pd.Series([files[0] for files in places.values()], dtype=object)
    return pd.DataFrame({IMAGE: images, label: pd.Series(list(labels.values()), dtype=object)})
