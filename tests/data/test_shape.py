"""What columns are taken for, and which tasks fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from seedbed_sdk.dataset import Dataset, DataSplit, FileRef
from seedbed_sdk.errors import InvalidArgument
from seedbed_server.data.fitting import fitting_tasks
from seedbed_server.data.samples import BUILT_IN
from seedbed_server.data.shape import Shape


def task(name: str, inputs: str, targets: str, layouts: str, contents: str = "") -> dict[str, Any]:
    return {
        "name": name,
        "input_types": [inputs],
        "target_types": targets.split(),
        "layouts": layouts.split(),
        "contents": contents.split(),
    }


TASKS = [
    task("tabular", "tabular", "category regression multi_target", "table class_folders"),
    task("images", "image", "category", "class_folders file_table", "image"),
    task("image_multilabel", "image", "multi_category", "class_folders file_table", "image"),
    task("segmentation", "image", "mask", "image_masks", "image"),
    task("texts", "text", "category", "table class_folders", "text"),
    task("text_multilabel", "text", "multi_category", "table", "text"),
    task("text_regression", "text", "regression", "table", "text"),
    task("sounds", "audio", "category", "class_folders file_table", "audio"),
    task("recommend", "user_item", "rating interaction", "table"),
    task("series", "series", "category", "table"),
]
RANDOM = np.random.default_rng(0)
WORDS = [f"a message of several words that is number {i}" for i in range(60)]


def ratings(**columns: Any) -> pd.DataFrame:
    users, movies = RANDOM.integers(0, 9, 60), RANDOM.integers(0, 20, 60)
    return pd.DataFrame({"user_id": users, "movieId": movies, **columns})


def shape_of(train: pd.DataFrame, target: str = "") -> Shape:
    return Shape.of(Dataset.from_frame(train), target)


def fitting(shape: Shape) -> list[str]:
    return fitting_tasks(shape, shape.dataset.layout, TASKS)


def guesses(shape: Shape) -> dict[str, str]:
    return {guess.what: guess.value for guess in shape.guesses()}


def of_files(layout: str, content: str, *names: str) -> Shape:
    refs = tuple(FileRef(name, bytes) for name in names)
    return Shape.of(Dataset({"train": DataSplit(files=refs)}, layout, content=content), "")


def test_who_liked_what() -> None:
    rated = shape_of(ratings(rating=[1, 2, 3] * 20, timestamp=range(60), label="x"))
    assert guesses(rated) == {
        "target": "rating",
        "user_column": "user_id",
        "item_column": "movieId",
        "time_column": "timestamp",
    }
    assert fitting(rated)[:2] == ["recommend", "tabular"]
    assert fitting(shape_of(ratings()))[0] == "recommend"
    # Each user once: a table of users.
    once = ratings(rating=[1, 2, 3] * 20).assign(user_id=range(60))
    assert fitting(shape_of(once)) == ["tabular"]
    assert fitting(shape_of(ratings(**{f"x{i}": 1.5 for i in range(12)}))) == ["tabular"]
    assert fitting(shape_of(ratings(rating=range(60), y=["p", "q"] * 30), "y")) == ["tabular"]


def test_free_text() -> None:
    texts = shape_of(
        pd.DataFrame({"title": WORDS, "body": [w * 2 for w in WORDS], "y": [0, 1] * 30})
    )
    assert guesses(texts)["text_column"] == "body"
    assert fitting(texts) == ["texts", "text_regression"]
    numbers = shape_of(pd.DataFrame({"title": WORDS, "y": RANDOM.normal(size=60)}))
    assert fitting(numbers) == ["text_regression"]


@pytest.mark.parametrize("separator", ["|", ";", ", "])
def test_several_labels_in_a_column(separator: str) -> None:
    labels = [separator.join(RANDOM.permutation(["a", "b", "c"])[:k]) for k in (1, 2, 3) * 20]
    frame = pd.DataFrame({"title": WORDS, "tags": labels})
    assert fitting(shape_of(frame, "tags")) == ["text_multilabel", "texts"]
    plain = pd.DataFrame({"title": WORDS, "tags": ["Paris, France", "Rome, Italy"] * 30})
    assert shape_of(plain, "tags").target_types[-1] == "category"


def test_several_targets() -> None:
    frame = pd.DataFrame({"title": WORDS, "a": [0, 1] * 30, "b": [1, 0] * 30, "c": range(60)})
    flags = shape_of(frame, "a, b")
    assert flags.targets == ("a", "b")
    assert flags.target == ""
    assert fitting(flags) == ["text_multilabel", "tabular"]
    assert fitting(shape_of(frame, "a,c")) == ["tabular"]
    with pytest.raises(InvalidArgument, match="there is no column 'd' to predict"):
        shape_of(frame, "a,d")


def test_series() -> None:
    walks = RANDOM.normal(size=(60, 30)).cumsum(axis=1)
    frame = pd.DataFrame(walks, columns=[f"t_{i}" for i in range(30)]).assign(y=["p", "q"] * 30)
    walk = shape_of(frame)
    assert fitting(walk) == ["series", "tabular"]
    assert guesses(walk)["value_columns"] == "t_0 … t_29"
    noise = pd.DataFrame(RANDOM.normal(size=(60, 30)), columns=walk.series).assign(y=frame["y"])
    assert fitting(shape_of(noise)) == ["tabular"]


def test_files() -> None:
    assert fitting(of_files("class_folders", "audio", "a/1.wav", "b/2.wav")) == ["sounds"]
    assert fitting(of_files("class_folders", "text", "a/1.txt", "b/2.txt")) == ["texts"]
    assert fitting(of_files("class_folders", "image", "a/1.png", "b/2.png")) == ["images"]
    again = of_files("class_folders", "image", "a/1.png", "b/1.png", "a/2.png", "b/2.png")
    assert fitting(again) == ["images", "image_multilabel"]
    pair = pd.DataFrame({"image": ["i/1.png"], "mask": ["m/1.png"]})
    refs = tuple(FileRef(name, bytes) for name in ("i/1.png", "m/1.png"))
    masks = Dataset({"train": DataSplit(pair, refs)}, "image_masks", content="image")
    shape = Shape.of(masks, "")
    assert (shape.target, shape.guessed, fitting(shape)) == ("mask", False, ["segmentation"])


def test_items_that_are_files_and_rows() -> None:
    digits = BUILT_IN["digits"]()
    assert fitting(Shape.of(digits, ""))[:1] == ["images"]
    assert "tabular" in fitting_tasks(Shape.of(digits, ""), digits.layout, TASKS)
    rows = Shape.of(digits, "target")
    assert (rows.target, rows.target_type, len(rows.inputs)) == ("target", "category", 64)


def test_a_guess_that_suits_no_task_does_not_count() -> None:
    frame = pd.DataFrame({"title": WORDS, "when": pd.date_range("2024-01-01", periods=60)})
    assert fitting(shape_of(frame)) == ["texts", "text_multilabel", "text_regression"]
