"""Items that are files, split by the groups that their names tell of, in the tasks on files."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from seedbed_sdk.dataset import Dataset, DataSplit, FileRef
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.registry import load

GROUPS, SIZE = 10, 4
PATTERN = r"([^/]+)_\d+\."


def picture(seed: int) -> bytes:
    image = pytest.importorskip("PIL.Image", reason="pictures need seedbed[vision]")
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 2, (16, 16)).astype(np.uint8)
    image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def sound(seed: int) -> bytes:
    soundfile = pytest.importorskip("soundfile", reason="sounds need seedbed[audio]")
    file = io.BytesIO()
    wave = np.random.default_rng(seed).normal(size=800) * 0.1
    soundfile.write(file, wave, 8000, format="WAV")
    return file.getvalue()


def text(seed: int) -> bytes:
    return " ".join(np.random.default_rng(seed).choice(["one", "two", "three"], 9)).encode()


def items(content: str, layout: str) -> Dataset:
    """Groups of both classes, each of four files."""
    make = {"image": picture, "audio": sound, "text": text}[content]
    names = [f"{'ab'[j % 2]}/g{i}_{j:02}.x" for i in range(GROUPS) for j in range(SIZE)]
    files = {name: make(i) for i, name in enumerate(names)}
    frame = None
    if layout == "image_masks":
        frame = pd.DataFrame({"image": names, "mask": [f"mask{i}" for i in range(len(names))]})
        files |= {f"mask{i}": picture(i) for i in range(len(names))}
    if layout == "file_table":
        frame = pd.DataFrame({"file": names, "label": [name[0] for name in names]})
    refs = tuple(FileRef(name, lambda data=data: data) for name, data in files.items())
    return Dataset({"train": DataSplit(frame, refs)}, layout, content=content)


@pytest.mark.parametrize(
    ("task", "content", "layout"),
    [
        ("image_classification", "image", "class_folders"),
        ("image_classification", "image", "file_table"),
        ("segmentation", "image", "image_masks"),
        ("audio_classification", "audio", "class_folders"),
        ("text_classification", "text", "class_folders"),
        ("text_classification", "text", "file_table"),
    ],
)
def test_groups_of_files_stay_in_one_split(task: str, content: str, layout: str) -> None:
    plugin = load().tasks[task]
    options = plugin.options(group_pattern=PATTERN)
    block = plugin.data_block(items(content, layout), "", options)
    prepared = block.prepare(0)
    sizes = [len(split.target) for split in (prepared.train, prepared.valid, prepared.test)]
    assert sizes == [7 * SIZE, 1 * SIZE, 2 * SIZE]
    column = block.splitter.columns["group_pattern"]
    train = block.items["train"]
    groups = train[column].map(lambda file: file.path.name.partition("_")[0])
    rows = np.arange(len(train))
    kept, held = block.splitter.hold_out("test", rows, train, None, 0)
    assert not set(groups.iloc[kept]) & set(groups.iloc[held])
    with pytest.raises(InvalidArgument, match=r"job\.options\.group_pattern: .* matches none of"):
        plugin.data_block(
            items(content, layout), "", options.model_copy(update={"group_pattern": "Z"})
        )


@pytest.mark.parametrize("task", ["tabular", "collaborative_filtering", "text_classification"])
def test_a_table_has_no_files_to_group(task: str) -> None:
    plugin = load().tasks[task]
    table = pd.DataFrame({"user": [1, 1, 2], "item": [1, 2, 1], "rating": [1, 2, 3]})
    with pytest.raises(InvalidArgument, match=r"job\.options\.group_pattern: .* rows of a table"):
        plugin.data_block(
            Dataset.from_frame(table), "rating", plugin.options(group_pattern=PATTERN)
        )
