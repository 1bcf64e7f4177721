"""The data of the project's benchmarks, as it comes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from seedbed_sdk.dataset import Dataset
from seedbed_server.data import reading, references
from seedbed_server.data.doctor import examine
from seedbed_server.data.inspection import inspect
from seedbed_server.data.references import DataSource, Policy
from seedbed_server.data.shape import Shape


def load(folder: Path, *sources: tuple[str, str]) -> Dataset:
    policy = Policy((folder,), folder / "uploads")
    given = [DataSource(str(folder / name), split) for name, split in sources]
    return reading.read(references.resolve(given, policy), policy)


def test_adult(shared_data: Path) -> None:
    dataset = load(shared_data, ("adult-train.csv", ""), ("adult-test.csv", "test"))
    train, test = dataset.splits["train"].table, dataset.splits["test"].table
    assert train is not None
    assert test is not None
    assert (train.shape, test.shape) == ((24_421, 15), (8_140, 15))
    assert list(train.columns) == list(test.columns)
    assert int(train["workclass"].isna().sum()) == 1368


def grave(dataset: Dataset) -> set[str]:
    return {f.kind for f in examine(dataset) if f.severity in ("ERROR", "WARNING")}


def test_the_doctor_on_real_data(shared_data: Path) -> None:
    adult = load(shared_data, ("adult-train.csv", ""), ("adult-test.csv", "test"))
    assert grave(adult) == set()
    sms = load(shared_data, ("sms-train.csv", ""), ("sms-test.csv", "test"))
    assert grave(sms) == {"rows_in_train_and_test", "near_duplicate_texts_in_test"}
    names = [("movielens-train.csv", ""), ("movielens-movies.csv", "")]
    assert grave(load(shared_data, *names, ("movielens-test.csv", "test"))) == set()
    assert grave(load(shared_data, ("cifar10-2k.zip", ""))) == set()
    assert grave(load(shared_data, ("spoken-digits.zip", ""))) == set()
    # Its test pictures are of other drives, at another time of the day.
    assert grave(load(shared_data, ("camvid-240x180.zip", ""))) == {"shift_in_test"}


def test_few_equal_rows_of_different_classes_are_no_finding(shared_data: Path) -> None:
    found = {f.kind for f in examine(load(shared_data, ("adult-train.csv", "")), "income")}
    assert "duplicate_rows" in found
    assert "conflicting_labels" not in found


def test_groups_that_names_of_files_tell_of(shared_data: Path) -> None:
    names = ("camvid-240x180.zip", "spoken-digits.zip", "cifar10-2k.zip")
    shapes = [Shape.of(load(shared_data, (name, "")), "") for name in names]
    drives, speakers, none = (shape.name_groups for shape in shapes)
    assert drives is not None
    assert drives.sizes == {"0016E5": 84, "0006R0": 49, "0001TP": 27}
    assert speakers is not None
    assert set(speakers.sizes) == {"george", "jackson", "lucas", "nicolas", "theo", "yweweler"}
    assert set(speakers.sizes.values()) == {200}
    assert none is None


def test_inspecting_adult(shared_data: Path) -> None:
    found = inspect(
        {
            "sources": [{"uri": str(shared_data / "adult-train.csv"), "split": ""}],
            "policy": Policy((shared_data,), shared_data / "uploads").to_dict(),
            "target": "income",
            "tasks": [],
        }
    )
    assert found["classes"] == [
        {"label": "<=50K", "count": 18_554},
        {"label": ">50K", "count": 5_867},
    ]
    types = Counter(column["type"] for column in found["columns"])
    assert types == {"category": 9, "numeric": 6}


def test_cifar(shared_data: Path) -> None:
    dataset = load(shared_data, ("cifar10-2k.zip", ""))
    assert dataset.layout == "class_folders"
    counts = {
        split: Counter(file.path.parent.name for file in data.files)
        for split, data in dataset.splits.items()
    }
    assert set(counts["train"].values()) == {200}
    assert set(counts["test"].values()) == {100}
    assert len(counts["train"]) == len(counts["test"]) == 10
    assert dataset.splits["train"].files[0].read().startswith(b"\xff\xd8")


def test_sms(shared_data: Path) -> None:
    dataset = load(shared_data, ("sms-train.csv", "train"), ("sms-test.csv", "test"))
    table = dataset.splits["train"].table
    assert table is not None
    assert table.shape == (3902, 2)
    assert set(table["label"]) == {"ham", "spam"}


def test_camvid(shared_data: Path) -> None:
    dataset = load(shared_data, ("camvid-240x180.zip", ""))
    assert dataset.layout == "image_masks"
    assert {s: len(d.files) for s, d in dataset.splits.items()} == {"train": 320, "test": 120}
    table = dataset.splits["test"].table
    assert table is not None
    assert table.shape == (60, 2)


def test_spoken_digits(shared_data: Path) -> None:
    dataset = load(shared_data, ("spoken-digits.zip", ""))
    assert (dataset.layout, dataset.content) == ("class_folders", "audio")
    assert {s: len(d.files) for s, d in dataset.splits.items()} == {"train": 1200, "test": 300}


def test_movielens(shared_data: Path) -> None:
    names = [("movielens-train.csv", ""), ("movielens-movies.csv", "")]
    dataset = load(shared_data, *names, ("movielens-test.csv", "test"))
    assert dataset.layout == "table"
    assert list(dataset.splits) == ["train", "test"]
    assert {role: len(table) for role, table in dataset.tables.items()} == {"items": 9742}
