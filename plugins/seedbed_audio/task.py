"""The task of classifying sounds."""

from __future__ import annotations

from typing import ClassVar

from seedbed_sdk.blocks.audio import AudioBlock
from seedbed_sdk.blocks.category import CategoryBlock
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.dataset import Dataset
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.items import items_from
from seedbed_sdk.splitters import choose_splitter
from seedbed_sdk.task import Task, TaskOptions

AUDIO = "audio"


class AudioClassification(Task[TaskOptions]):
    """One class for each sound file, by its folder or by a table that names files."""

    name: ClassVar[str] = "audio_classification"
    title: ClassVar[str] = "Audio classification"
    description: ClassVar[str] = (
        "Predicts one class for each sound file (WAV, FLAC, OGG, MP3) of any rate, length and "
        "number of channels. Reads folders named after classes, or a table with a column of file "
        "names beside the sounds; as a folder or an archive. Of sounds longer than ten seconds the "
        "loudest ten are used."
    )
    options = TaskOptions
    input_types: ClassVar[tuple[str, ...]] = ("audio",)
    target_types: ClassVar[tuple[str, ...]] = ("category",)
    layouts: ClassVar[tuple[str, ...]] = ("class_folders", "file_table")
    contents: ClassVar[tuple[str, ...]] = ("audio",)

    def data_block(self, dataset: Dataset, target: str, options: TaskOptions) -> DataBlock:
        items = items_from(dataset, target, column=AUDIO)
        if len(items.targets) > 1:
            raise InvalidArgument(
                "job.target",
                f"{', '.join(items.targets)} are several columns; one class is predicted here; "
                "name one",
                reason="SEVERAL_TARGETS",
            )
        sounds = AudioBlock(AUDIO)
        sounds.fit(items.splits["train"])
        return DataBlock(
            inputs=[sounds],
            target=CategoryBlock(items.targets[0]),
            items=items.splits,
            splitter=choose_splitter(options, files=AUDIO),
            max_bad_fraction=options.max_bad_fraction,
        )
