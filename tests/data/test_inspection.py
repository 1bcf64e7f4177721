"""What InspectDataset says of data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from seedbed_sdk.dataset import Dataset, DataSplit, FileRef
from seedbed_sdk.errors import InvalidArgument
from seedbed_server.api.predictions_convert import inspection_to_message
from seedbed_server.data.inspection import describe, inspect
from seedbed_server.data.references import Policy
from seedbed_server.executors.calls import pack, unpack
from tests.data.conftest import picture, write

TASKS = [
    {
        "name": "tabular",
        "input_types": ["tabular"],
        "target_types": ["category", "regression"],
        "layouts": ["table"],
    },
    {
        "name": "image_classification",
        "input_types": ["image"],
        "target_types": ["category"],
        "layouts": ["class_folders", "file_table"],
    },
    {
        "name": "text_classification",
        "input_types": ["text"],
        "target_types": ["category"],
        "layouts": ["table"],
    },
]

Inspect = Callable[..., dict[str, Any]]


@pytest.fixture
def look(policy: Policy) -> Inspect:
    """Inspects as the API process does: through msgpack, and on to the message."""

    def look_at(*sources: object, target: str = "") -> dict[str, Any]:
        named = [s if isinstance(s, tuple) else (s, "") for s in sources]
        payload = {
            "sources": [{"uri": str(uri), "split": split} for uri, split in named],
            "policy": policy.to_dict(),
            "target": target,
            "tasks": TASKS,
        }
        found: dict[str, Any] = unpack(pack(inspect(unpack(pack(payload)))))
        message = inspection_to_message(found)
        assert message.layout == found["layout"]
        assert len(message.samples) == len(found["samples"])
        return found

    return look_at


def kinds(found: Mapping[str, Any]) -> list[str]:
    return [finding["kind"] for finding in found["findings"]]


def about(found: Mapping[str, Any], kind: str) -> dict[str, str]:
    (finding,) = [f for f in found["findings"] if f["kind"] == kind]
    return dict(finding)


def guessed(found: Mapping[str, Any]) -> dict[str, str]:
    assert all(guess["why"] and guess["overrule"] for guess in found["guesses"])
    return {guess["what"]: guess["value"] for guess in found["guesses"]}


def of_frame(
    train: pd.DataFrame, test: pd.DataFrame | None = None, target: str = "y"
) -> dict[str, Any]:
    found: dict[str, Any] = unpack(pack(describe(Dataset.from_frame(train, test), target, TASKS)))
    return found


def plain_frame(rows: int = 60, seed: int = 0) -> pd.DataFrame:
    """A table with nothing to say about."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "a": random.normal(size=rows),
            "b": random.choice(["u", "v"], rows),
            "y": ["p", "q"] * (rows // 2),
        }
    )


def test_a_table(root: Path, look: Inspect) -> None:
    train = write(
        root / "train.csv",
        "age,joined,member,note,nothing,income\n"
        "30,2024-01-05,true,x,,high\n41,2024-02-06,false,y,,low\n52,,true,x,,low\n63,2024-03-07,,z,,low\n",
    )
    test = write(root / "test.csv", train.read_text())
    found = look(train, (test, "test"))
    assert found["layout"] == "table"
    assert found["splits"] == [
        {"split": "train", "item_count": 4},
        {"split": "test", "item_count": 4},
    ]
    columns = {column["name"]: column for column in found["columns"]}
    assert {n: c["type"] for n, c in columns.items()} == {
        "age": "numeric",
        "joined": "date",
        "member": "boolean",
        "note": "category",
        "nothing": "empty",
        "income": "category",
    }
    assert columns["joined"] == {
        "name": "joined",
        "type": "date",
        "missing_count": 1,
        "distinct_count": 3,
        "examples": ["2024-01-05", "2024-02-06", "2024-03-07"],
    }
    assert columns["age"]["examples"] == ["30", "41", "52", "63"]
    assert found["target"] == "income"
    assert found["classes"] == [{"label": "low", "count": 3}, {"label": "high", "count": 1}]
    first = found["samples"][0]
    assert (first["age"], first["member"], first["nothing"]) == (30, True, None)
    assert first["joined"].isoformat() == "2024-01-05T00:00:00+00:00"
    assert found["samples"][2]["joined"] is None
    assert found["tasks"] == ["tabular"]
    assert guessed(found)["target"] == "income"
    severities = [finding["severity"] for finding in found["findings"]]
    assert severities == sorted(severities, key=["ERROR", "WARNING", "INFO"].index)


@pytest.mark.parametrize(
    ("columns", "target"),
    [(("a", "Target", "b"), "Target"), (("label", "b"), "label"), (("a", "b"), "b")],
)
def test_guesses_the_target_and_says_so(columns: tuple[str, ...], target: str) -> None:
    frame = pd.DataFrame({name: ["u", "v"] * 5 for name in columns})
    found = of_frame(frame, target="")
    assert found["target"] == target
    assert guessed(found)["target"] == target
    assert "target" not in guessed(of_frame(frame, target=target))


def test_an_unknown_target(root: Path, look: Inspect) -> None:
    table = write(root / "t.csv", "age,income\n1,x\n2,y\n")
    with pytest.raises(InvalidArgument) as caught:
        look(table, target="incom")
    assert caught.value.message == (
        "target: there is no column 'incom' to predict; did you mean 'income'?; the columns are "
        "'age', 'income'"
    )
    assert caught.value.violations[0].field == "target"


def test_a_target_where_there_are_no_columns(root: Path, look: Inspect) -> None:
    for name in ("cat/1.png", "dog/2.png"):
        write(root / name, picture())
    with pytest.raises(InvalidArgument, match="the data has no columns, and so no 'breed'"):
        look(root, target="breed")
    assert look(root, target="label")["target"] == ""


def test_class_folders(root: Path, look: Inspect) -> None:
    for name in ("train/cat/1.png", "train/cat/2.png", "train/dog/3.png", "test/cow/4.png"):
        write(root / name, picture())
    found = look(root)
    assert found["layout"] == "class_folders"
    assert found["columns"] == []
    assert found["classes"] == [{"label": "cat", "count": 2}, {"label": "dog", "count": 1}]
    assert found["samples"] == [
        {"file": "cat/1.png", "image": picture(), "label": "cat"},
        {"file": "dog/3.png", "image": picture(), "label": "dog"},
    ]
    assert found["tasks"] == ["image_classification"]
    assert about(found, "classes_only_in_test")["message"] == (
        "the test data has 1 class that the training data lacks: 'cow'"
    )
    assert "'cat', 'dog'" in about(found, "small_class")["message"]


def test_a_table_of_pictures(root: Path, look: Inspect) -> None:
    write(root / "d" / "labels.csv", "file,kind\na.png,cat\nb.png,dog\ngone.png,dog\n")
    for name in ("a.png", "b.png"):
        write(root / "d" / name, picture())
    found = look(root / "d")
    assert (found["layout"], found["target"]) == ("file_table", "kind")
    assert found["samples"][0] == {"file": "a.png", "kind": "cat", "image": picture()}
    assert found["samples"][2] == {"file": "gone.png", "kind": "dog"}
    assert found["tasks"] == ["image_classification"]
    with pytest.raises(InvalidArgument, match="no column 'file' to predict"):
        look(root / "d", target="file")


def test_large_and_unreadable_pictures_are_only_named() -> None:
    def fail() -> bytes:
        raise OSError("is damaged")

    files = (FileRef("cat/1.png", lambda: bytes(300_000)), FileRef("dog/2.png", fail))
    dataset = Dataset({"train": DataSplit(files=files)}, "class_folders")
    assert describe(dataset, "", TASKS)["samples"] == [
        {"file": "cat/1.png", "label": "cat"},
        {"file": "dog/2.png", "label": "dog"},
    ]


def test_values_of_all_kinds_reach_the_message(root: Path, look: Inspect) -> None:
    lines = (
        '{"big": 123456789012345678901234567890, "list": [1, "x"], "object": {"k": 1}, '
        '"float": 1.5, "text": "é", "y": 1}\n'
        '{"big": 2, "list": [], "object": null, "float": null, "text": null, "y": 2}\n'
    )
    found = look(write(root / "x.jsonl", lines), target="y")
    assert found["samples"] == [
        {
            "big": "123456789012345678901234567890",
            "list": "[1, 'x']",
            "object": "{'k': 1}",
            "float": 1.5,
            "text": "é",
            "y": 1,
        },
        {"big": 2, "list": "[]", "object": None, "float": None, "text": None, "y": 2},
    ]


def test_the_tasks_that_fit() -> None:
    words = [f"a message of quite a few words, number {i}" for i in range(60)]
    frame = plain_frame()
    assert of_frame(frame)["tasks"] == ["tabular"]
    assert of_frame(frame.assign(words=words))["tasks"] == ["text_classification", "tabular"]
    only_text = pd.DataFrame({"words": words, "y": frame["y"]})
    assert of_frame(only_text)["tasks"] == ["text_classification"]
    # Numbers are no classes, so that only what predicts numbers fits a target that was named.
    assert of_frame(frame.assign(words=words), target="a")["tasks"] == ["tabular"]
    files = Dataset({"train": DataSplit(files=(FileRef("1.wav", bytes),))}, "files")
    assert describe(files, "", TASKS)["tasks"] == []


# --- findings --------------------------------------------------------------------------------


def test_nothing_to_say_about_plain_data() -> None:
    assert of_frame(plain_frame(), plain_frame(seed=1))["findings"] == []


@pytest.mark.parametrize(
    ("name", "values", "kind", "text"),
    [
        ("c", [7] * 60, "constant_column", "column 'c' has the one value '7' in all 60 rows"),
        ("c", [None] * 60, "empty_column", "column 'c' has no value in any of 60 rows"),
        (
            "c",
            ["x", "y"] * 10 + [None] * 40,
            "mostly_missing",
            "column 'c' has no value in 40 of 60 rows",
        ),
        ("c", range(100, 160), "id_column", "column 'c' has a different value in each of 60 rows"),
        ("user_id", [i * i for i in range(60)], "id_column", "a different value in each of 60"),
        ("c", [f"x{i}" for i in range(60)], "id_column", "a different value in each of 60 rows"),
        (
            "c",
            ["P", "Q"] * 30,
            "leaking_column",
            "each of the 2 values of column 'c' stands for one value of the target 'y'",
        ),
    ],
)
def test_findings_about_a_column(name: str, values: Any, kind: str, text: str) -> None:
    found = of_frame(plain_frame().assign(**{name: list(values)}))
    assert kinds(found) == [kind]
    finding = about(found, kind)
    assert finding["subject"] == name
    assert text in finding["message"]
    assert finding["suggestion"]


def test_findings_that_many_columns_share_are_shortened() -> None:
    wide = plain_frame().assign(**{f"c{i}": 1 for i in range(30)})
    found = of_frame(wide)
    assert kinds(found) == ["constant_column"] * 21
    assert "the same is true of 10 more columns: 'c20', 'c21'" in found["findings"][-1]["message"]


def test_findings_about_classes() -> None:
    frame = plain_frame(1000)
    rare = frame.assign(y=["p"] * 990 + ["q"] * 5 + ["r", "r", "s", "t", "u"])
    found = of_frame(rare)
    assert kinds(found) == ["small_class", "class_imbalance"]
    assert about(found, "class_imbalance")["message"] == (
        "1 of 6 classes have less than 1% of 1,000 items each: 'q' 5"
    )
    assert "4 of 6 classes have fewer than 3 items" in about(found, "small_class")["message"]


def test_findings_about_the_target() -> None:
    frame = plain_frame()
    one = of_frame(frame.assign(y="p"))
    assert about(one, "single_class")["severity"] == "ERROR"
    assert about(one, "single_class")["message"] == "all 60 training items are of the class 'p'"
    some = of_frame(frame.assign(y=pd.Series([None] * 6 + ["p", "q"] * 27)))
    assert about(some, "target_missing")["message"] == (
        "6 of 60 rows have no value in the target 'y'"
    )
    assert about(some, "target_missing")["severity"] == "WARNING"
    assert about(of_frame(frame.assign(y=None)), "target_missing")["severity"] == "ERROR"
    words = [f"a message of quite a few words, number {i}" for i in range(60)]
    assert "target_unsuitable" in kinds(of_frame(frame.assign(y=words)))


def test_findings_about_rows() -> None:
    train = plain_frame()
    doubled = pd.concat([train, train.head(3)], ignore_index=True)
    # The same numbers, which the other file happens to hold as floats.
    test = pd.concat([train.head(2), plain_frame(seed=1)], ignore_index=True)
    found = of_frame(doubled, test)
    assert kinds(found) == ["rows_in_train_and_test", "duplicate_rows"]
    assert "2 of 62 test rows are also among" in found["findings"][0]["message"]
    assert "3 of 63 training rows occur before" in found["findings"][1]["message"]
    whole = plain_frame().assign(a=range(60))
    again = of_frame(whole, whole.astype({"a": "float64"}))
    assert "60 of 60 test rows" in about(again, "rows_in_train_and_test")["message"]


def test_rows_with_lists_can_be_compared() -> None:
    frame = plain_frame().assign(tags=pd.Series([[i, i] for i in range(60)]))
    assert kinds(of_frame(pd.concat([frame, frame.head(1)]))) == ["duplicate_rows"]


def test_findings_about_splits() -> None:
    train = plain_frame()
    test = plain_frame(seed=1).assign(more=1, y=["p", "z"] * 30).drop(columns="b")
    found = of_frame(train, test)
    assert kinds(found) == [
        "columns_missing_in_test",
        "classes_only_in_test",
        "columns_only_in_test",
    ]
    first = found["findings"][0]
    assert (first["severity"], first["subject"]) == ("ERROR", "b")
    assert first["message"] == "the test data lacks 1 column of the training data: 'b'"


def test_a_first_row_that_is_data(root: Path, look: Inspect) -> None:
    found = look(write(root / "x.csv", "5.1,3.5,0\n4.9,3.0,0\n6.1,2.9,1\n"))
    assert about(found, "header_missing")["message"] == (
        "all 3 column names are numbers, such as '5.1': the first row may be data"
    )


def test_everything_fits_into_a_message_however_wide_the_table() -> None:
    wide = pd.DataFrame({f"c{i}": [f"{i} " * 500, "x"] for i in range(300)})
    assert len(pack(of_frame(wide.assign(y=["p", "q"])))) < 3_000_000
