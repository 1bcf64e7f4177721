"""The task of segmenting pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from seedbed_sdk.blocks import ImageBlock, MaskBlock
from seedbed_sdk.blocks.mask_classes import MaskClasses
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.dataset import Dataset
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.items import named_files
from seedbed_sdk.splitters import choose_splitter
from seedbed_sdk.task import Task, TaskOptions
from seedbed_vision import backbones

IMAGE = "image"
MASK = "mask"
LEGEND = "legend"


class SegmentationOptions(TaskOptions):
    """Options of segmentation."""

    void: int | str | list[int | str] = Field(
        default_factory=list,
        description="What in the masks is not to be learned or judged: grey values, names of the "
        "legend or colours as #rrggbb, one or a list. The grey value 255 always is, unless masks "
        "have 0 and 255 alone.",
    )

    @property
    def void_list(self) -> tuple[int | str, ...]:
        """`void` as a list, also where it is text with commas."""
        if isinstance(self.void, str):
            return tuple(part.strip() for part in self.void.split(",") if part.strip())
        return (self.void,) if isinstance(self.void, int) else tuple(self.void)


class Segmentation(Task[SegmentationOptions]):
    """A class for every pixel of a picture, learned from masks."""

    name: ClassVar[str] = "segmentation"
    title: ClassVar[str] = "Segmentation"
    description: ClassVar[str] = (
        "Predicts a class for every pixel. Reads pictures in a folder images/ and their masks of "
        "the same names in masks/: grey values or colours, which a legend (name, r, g, b) may "
        "name. Answers with the mask and with the picture overlaid."
    )
    options = SegmentationOptions
    input_types: ClassVar[tuple[str, ...]] = ("image",)
    target_types: ClassVar[tuple[str, ...]] = ("mask",)
    layouts: ClassVar[tuple[str, ...]] = ("image_masks",)
    contents: ClassVar[tuple[str, ...]] = ("image",)

    def missing(self) -> Sequence[str]:
        return backbones.missing()

    def data_block(self, dataset: Dataset, target: str, options: SegmentationOptions) -> DataBlock:
        if target not in ("", MASK):
            raise InvalidArgument(
                "job.target",
                f"{target!r} is no column of masks; leave the target empty",
                reason="UNKNOWN_COLUMN",
            )
        items = {}
        for split, data in dataset.splits.items():
            assert data.table is not None
            files = {column: named_files(data, column) for column in (IMAGE, MASK)}
            items[split] = data.table.assign(**files)
        images = ImageBlock(IMAGE, whole=True)
        images.fit(items["train"])
        void, legend = options.void_list, dataset.tables.get(LEGEND)
        if legend is None:
            classes = MaskClasses(void_asked=void)
        else:
            classes = MaskClasses.of_legend(legend, void)
        return DataBlock(
            inputs=[images],
            target=MaskBlock(MASK, images.size, classes, image_column=IMAGE),
            items=items,
            splitter=choose_splitter(options, files=IMAGE),
            max_bad_fraction=options.max_bad_fraction,
            notes=backbones.missing(),
        )
