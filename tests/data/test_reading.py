"""What data is understood to be, from its files."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from seedbed_sdk.dataset import Dataset
from seedbed_sdk.errors import InvalidArgument
from seedbed_server.data import reading, references
from seedbed_server.data.file_tables import FileNames, find_file_column
from seedbed_server.data.references import DataSource, Policy
from tests.data.conftest import picture, write

Load = Callable[..., Dataset]
TABLE = "a,b\n1,x\n2,y\n"


def names(dataset: Dataset, split: str = "train") -> list[str]:
    return [file.name for file in dataset.splits[split].files]


def rows(dataset: Dataset, split: str = "train") -> int:
    table = dataset.splits[split].table
    assert table is not None
    return len(table)


def refusal(load: Load, *sources: object) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        load(*sources)
    return caught.value


def zipped(path: Path, files: Mapping[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def pictures(*names: str) -> dict[str, bytes | str]:
    return {name: f"picture {name}" for name in names}


def placed(root: Path, form: str, files: Mapping[str, bytes | str]) -> Path:
    """The same files as a folder or as an archive."""
    if form == "zip":
        return zipped(root / "data.zip", files)
    for name, data in files.items():
        write(root / "data" / name, data)
    return root / "data"


forms = pytest.mark.parametrize("form", ["folder", "zip"])


# --- tables ----------------------------------------------------------------------------------


def test_tables_by_their_split(root: Path, load: Load) -> None:
    train, test = write(root / "one.csv", TABLE), write(root / "two.csv", "a,b\n3,z\n")
    dataset = load(train, (test, "test"))
    assert (dataset.layout, dataset.name) == ("table", "one.csv")
    assert list(dataset.splits) == ["train", "test"]
    assert (rows(dataset), rows(dataset, "test")) == (2, 1)
    with pytest.raises(InvalidArgument, match="there is no training data, only test"):
        load((test, "test"))


def test_tables_for_one_split_are_put_together(root: Path, load: Load) -> None:
    one, two = write(root / "1.csv", TABLE), write(root / "2.csv", "b,a\nz,3\n")
    dataset = load(one, two)
    table = dataset.splits["train"].table
    assert table is not None
    assert table["a"].tolist() == [1, 2, 3]
    assert table["b"].tolist() == ["x", "y", "z"]
    error = refusal(load, one, write(root / "3.csv", "a,c\n1,2\n"))
    assert error.violations[0].field == "dataset.sources[1].uri"
    assert "3.csv and 1.csv are for the same split and have different columns ('b', 'c')" in str(
        error
    )


@forms
def test_tables_in_a_tree_are_splits_by_their_names(root: Path, load: Load, form: str) -> None:
    files = {"adult-train.csv": TABLE, "adult-test.csv": "a,b\n3,z\n", "README.md": "words"}
    dataset = load(placed(root, form, files))
    assert dataset.layout == "table"
    assert {split: rows(dataset, split) for split in dataset.splits} == {"train": 2, "test": 1}


@forms
def test_tables_in_split_folders(root: Path, load: Load, form: str) -> None:
    files = {"d/train/0.csv": TABLE, "d/train/1.csv": TABLE, "d/validation/0.csv": TABLE}
    dataset = load(placed(root, form, files))
    assert {split: rows(dataset, split) for split in dataset.splits} == {"train": 4, "valid": 2}


@forms
def test_an_archive_with_just_a_table(root: Path, load: Load, form: str) -> None:
    dataset = load(placed(root, form, {"wrap/test.csv": TABLE, "__MACOSX/._test.csv": "x"}))
    assert (dataset.layout, rows(dataset)) == ("table", 2)


@forms
def test_a_bad_table_in_a_tree_is_named(root: Path, load: Load, form: str) -> None:
    error = refusal(load, placed(root, form, {"sub/x.csv": "a,b\n1\n"}))
    assert "sub/x.csv has 1 field in line 2" in error.message
    assert error.violations[0].field == "dataset.sources[0].uri"


# --- class folders ---------------------------------------------------------------------------


@forms
def test_class_folders_with_splits(root: Path, load: Load, form: str) -> None:
    files = pictures("train/cat/1.jpg", "train/dog/1.JPG", "val/cat/2.png", "TEST/dog/3.jpg")
    noise: dict[str, bytes | str] = {
        "README.md": "words",
        "train/classes.txt": "cat dog",
        "train/cat/Thumbs.db": "x",
        "train/cat/.hidden.jpg": "x",
        "__MACOSX/train/cat/._1.jpg": "x",
    }
    dataset = load(placed(root, form, {**files, **noise}))
    assert dataset.layout == "class_folders"
    assert list(dataset.splits) == ["train", "valid", "test"]
    assert names(dataset) == ["cat/1.jpg", "dog/1.JPG"]
    assert names(dataset, "valid") == ["cat/2.png"]
    assert names(dataset, "test") == ["dog/3.jpg"]
    assert dataset.splits["test"].files[0].read() == b"picture TEST/dog/3.jpg"


@forms
@pytest.mark.parametrize("wrap", ["", "wrapped/"])
def test_class_folders_without_splits(root: Path, load: Load, form: str, wrap: str) -> None:
    files = pictures(f"{wrap}cat/1.jpg", f"{wrap}dog/1.jpg")
    dataset = load(placed(root, form, files))
    assert (dataset.layout, names(dataset)) == ("class_folders", ["cat/1.jpg", "dog/1.jpg"])


@forms
def test_a_wrapped_train_and_test(root: Path, load: Load, form: str) -> None:
    dataset = load(placed(root, form, pictures("w/train/cat/1.jpg", "w/test/cat/2.jpg")))
    assert (names(dataset), names(dataset, "test")) == (["cat/1.jpg"], ["cat/2.jpg"])


@forms
def test_what_lies_beside_the_splits(root: Path, load: Load, form: str) -> None:
    """Training data where there is no `train/`, and left out where there is one."""
    files = pictures("test/cat/1.jpg", "cat/2.jpg", "dog/3.jpg")
    folder = placed(root, form, files)
    assert names(load(folder)) == ["cat/2.jpg", "dog/3.jpg"]
    folder = placed(root, form, {**files, **pictures("train/cat/4.jpg")})
    assert names(load(folder)) == ["cat/4.jpg"]


@forms
def test_one_class_keeps_its_name(root: Path, load: Load, form: str) -> None:
    dataset = load(placed(root, form, pictures("cat/1.jpg", "cat/2.jpg")))
    assert (dataset.layout, names(dataset)) == ("class_folders", ["cat/1.jpg", "cat/2.jpg"])


def test_a_folder_as_test_source(root: Path, load: Load) -> None:
    for name in (
        "a/cat/1.jpg",
        "a/dog/2.jpg",
        "b/cat/3.jpg",
        "c/test/cat/4.jpg",
        "c/train/cat/5.jpg",
    ):
        write(root / name)
    assert names(load(root / "a", (root / "b", "test")), "test") == ["cat/3.jpg"]
    # Of a source with splits of its own, the one that was asked for.
    dataset = load(root / "a", (root / "c", "test"))
    assert (names(dataset), names(dataset, "test")) == (["cat/1.jpg", "dog/2.jpg"], ["cat/4.jpg"])
    # What a source is said to be takes the place of a folder's name.
    dataset = load(root / "c", (root / "b", "test"))
    assert (names(dataset), names(dataset, "test")) == (["cat/5.jpg"], ["cat/3.jpg"])


def test_test_pictures_need_class_folders_too(root: Path, load: Load) -> None:
    for name in ("a/cat/1.jpg", "a/dog/2.jpg", "b/3.jpg"):
        write(root / name)
    error = refusal(load, root / "a", (root / "b", "test"))
    assert error.violations[0].field == "dataset.sources"
    assert "the test data is not in class folders as the training data is" in error.message


def test_files_of_the_same_name_from_two_sources_stay_apart(root: Path, load: Load) -> None:
    write(root / "a" / "cat" / "1.jpg", "first")
    write(root / "b" / "cat" / "1.jpg", "second")
    files = load(root / "a", root / "b").splits["train"].files
    assert [(f.name, f.read()) for f in files] == [
        ("cat/1.jpg", b"first"),
        ("cat/1~2.jpg", b"second"),
    ]


def test_a_file_that_is_too_large_or_gone_is_an_error_of_that_file(
    root: Path, policy: Policy
) -> None:
    large, gone = write(root / "cat" / "1.jpg", "x" * 100), write(root / "dog" / "2.jpg")
    resolved = references.resolve([DataSource(str(root))], policy)
    first, second = reading.read(resolved, replace(policy, max_item_bytes=99)).splits["train"].files
    with pytest.raises(OSError, match="has more than 99 bytes"):
        first.read()
    gone.unlink()
    with pytest.raises(FileNotFoundError):
        second.read()
    large.write_bytes(b"now small")
    assert first.read() == b"now small"


# --- files -----------------------------------------------------------------------------------


@forms
@pytest.mark.parametrize(
    "files",
    [
        ("1.jpg", "2.jpg"),
        ("cat/1.jpg", "dog/2.jpg", "3.jpg"),
        ("notes/1.txt", "notes/2.txt"),
    ],
)
def test_everything_else_is_files(
    root: Path, load: Load, form: str, files: tuple[str, ...]
) -> None:
    dataset = load(placed(root, form, pictures(*files)))
    assert dataset.layout == "files"
    assert len(names(dataset)) == len(files)


def test_classes_may_be_called_labels(root: Path, load: Load) -> None:
    for name in ("labels/1.jpg", "bottles/2.jpg"):
        write(root / name)
    assert load(root).layout == "class_folders"


# --- tables that name files ------------------------------------------------------------------


@forms
def test_a_table_that_names_files(root: Path, load: Load, form: str) -> None:
    table = "id,file,label\n1,a.jpg,cat\n2,gone.jpg,dog\n3,b.jpg,dog\n"
    files = {"labels.csv": table, **pictures("images/a.jpg", "images/b.jpg", "images/unused.jpg")}
    dataset = load(placed(root, form, files))
    assert dataset.layout == "file_table"
    found = dataset.splits["train"].table
    assert found is not None
    assert found["file"].tolist() == ["images/a.jpg", "gone.jpg", "images/b.jpg"]
    assert found["label"].tolist() == ["cat", "dog", "dog"]
    assert names(dataset) == ["images/a.jpg", "images/b.jpg"]
    assert dataset.splits["train"].files[1].read() == b"picture images/b.jpg"


@forms
def test_tables_for_each_split(root: Path, load: Load, form: str) -> None:
    files = {
        "train.csv": "file,label\n1,cat\n2,dog\n",
        "test.csv": "file,label\n3,cat\n",
        "sample_submission.csv": "file,label\n3,to be guessed\n",
        **pictures("train/1.jpg", "train/2.jpg", "test/3.jpg"),
    }
    dataset = load(placed(root, form, files))
    assert dataset.layout == "file_table"
    assert names(dataset) == ["train/1.jpg", "train/2.jpg"]
    assert names(dataset, "test") == ["test/3.jpg"]
    table = dataset.splits["test"].table
    assert table is not None
    assert table["file"].tolist() == ["test/3.jpg"]


def test_a_table_beside_a_folder_as_sources_of_their_own(root: Path, load: Load) -> None:
    for name in ("pictures/x/1.jpg", "pictures/y/2.jpg"):
        write(root / name)
    table = write(root / "t.csv", "path,label\nx/1.jpg,cat\n/home/me/y/2.jpg,dog\n")
    dataset = load(root / "pictures", table)
    assert (dataset.layout, names(dataset)) == ("file_table", ["x/1.jpg", "y/2.jpg"])
    other = write(root / "other.csv", "a,b\n8,x\n9,y\n")
    error = refusal(load, root / "pictures", other)
    assert error.violations[0].field == "dataset.sources[1].uri"
    assert "no column of other.csv names files of pictures" in error.message


@forms
def test_an_index_over_class_folders_in_splits_does_not_hide_them(
    root: Path, load: Load, form: str
) -> None:
    files = pictures("train/cat/1.jpg", "train/dog/2.jpg", "test/cat/3.jpg")
    index = "path,class\n" + "".join(f"{name},c\n" for name in files)
    dataset = load(placed(root, form, {"index.csv": index, "broken.csv": "a,b\n1\n", **files}))
    assert dataset.layout == "class_folders"
    assert names(dataset, "test") == ["cat/3.jpg"]


def test_two_trees_with_files_of_one_name_and_a_table(root: Path, load: Load) -> None:
    for name in ("a/1.jpg", "b/1.jpg"):
        write(root / name)
    table = write(root / "t.csv", "file,label\n1.jpg,x\n")
    error = refusal(load, root / "a", root / "b", table)
    assert "b has a file '1.jpg', and so has another source" in error.message


def test_how_a_table_may_name_a_file() -> None:
    files = FileNames(["x/1.jpg", "x/2.jpg", "y/2.jpg", "z/a.b.png"])
    assert [files.find(v) for v in ("x/1.jpg", "./x/1.jpg", "x\\1.jpg", "1.jpg", "1", 1, 1.0)] == [
        "x/1.jpg"
    ] * 7
    assert files.find("2.jpg") is None
    assert files.find("2.jpg", folder="y") == "y/2.jpg"
    assert files.find("a.b") == "z/a.b.png"
    assert [files.find(v) for v in ("", "/", "../x/1.jpg.exe", "q/3.jpg")] == [None] * 4
    assert files.find("y/1.jpg") is None


def test_numbers_name_files_only_where_no_text_does() -> None:
    files = FileNames(["0.jpg", "1.jpg", "cat.jpg", "dog.jpg"])
    table = pd.DataFrame({"label": [0, 1, 1], "file": ["cat.jpg", "dog.jpg", "gone.jpg"]})
    assert find_file_column(table, files) == "file"
    assert find_file_column(pd.DataFrame({"id": [0, 1]}), files) == "id"
    assert find_file_column(table[["label"]], files) is None
    assert find_file_column(pd.DataFrame({"x": [1.5, 2.5], "y": [None, None]}), files) is None


# --- what cannot be read ---------------------------------------------------------------------


def test_empty_folders_and_unknown_files(root: Path, load: Load) -> None:
    (root / "empty").mkdir()
    error = refusal(load, root / "empty")
    assert error.reason == "EMPTY_DATASET"
    assert f"{root}/empty has no files in it" in error.message
    for name in ("x.jpg", "x.xyz", "nothing"):
        error = refusal(load, write(root / name, "words"))
        assert f"{name} has the ending" in error.message
        assert "is no known format of data" in error.message


def test_archives_are_checked(root: Path, load: Load) -> None:
    error = refusal(load, zipped(root / "x.zip", pictures("cat/1.jpg", "../dog/2.jpg")))
    assert error.reason == "UNSAFE_ARCHIVE"
    assert "'../dog/2.jpg', a name that leads out of the archive (..)" in error.message


# --- samples ---------------------------------------------------------------------------------


def test_built_in_tables(load: Load) -> None:
    cancer = load("sample://breast_cancer").splits["train"].table
    assert cancer is not None
    assert cancer.shape == (569, 31)
    assert cancer["target"].value_counts().to_dict() == {"benign": 357, "malignant": 212}
    wine = load("sample://wine").splits["train"].table
    assert wine is not None
    assert sorted(wine["target"].unique()) == ["class_0", "class_1", "class_2"]
    diabetes = load("sample://diabetes").splits["train"].table
    assert diabetes is not None
    assert (diabetes["target"].min(), diabetes["target"].max()) == (25.0, 346.0)


def test_built_in_pictures(load: Load) -> None:
    assert picture()
    dataset = load("sample://digits")
    files = dataset.splits["train"].files
    assert dataset.layout == "class_folders"
    assert len(files) == 1797
    assert {file.path.parent.name for file in files} == set("0123456789")
    assert all(file.read().startswith(b"\x89PNG") for file in files)


def test_samples_of_plugins_and_unknown_ones(policy: Policy) -> None:
    own = Dataset.from_frame(pd.DataFrame({"a": [1]}), name="own")
    resolved = references.resolve([DataSource("sample://own")], policy)
    assert reading.read(resolved, policy, {"own": lambda: own}) is own
    unknown = references.resolve([DataSource("sample://breast-cancer")], policy)
    with pytest.raises(InvalidArgument) as caught:
        reading.read(unknown, policy, {"own": lambda: own})
    assert caught.value.message == (
        "dataset.sources[0].uri: there is no sample 'breast-cancer'; there are breast_cancer, "
        "diabetes, digits, own, wine; did you mean 'breast_cancer'?"
    )


def test_a_sample_stands_alone(root: Path, load: Load) -> None:
    table = write(root / "t.csv", TABLE)
    for sources in (["sample://wine", table], [("sample://wine", "test")]):
        assert "sample://wine is a whole dataset" in refusal(load, *sources).message
