"""Masks, sounds, texts, side tables and legends; and layouts that are asked for."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest

from seedbed_sdk.dataset import Dataset
from seedbed_sdk.errors import InvalidArgument
from seedbed_server.data import reading, references
from seedbed_server.data.legends import as_legend, legend_from_json
from seedbed_server.data.reading import Reading
from seedbed_server.data.references import DataSource, Policy
from tests.data.conftest import write

Look = Callable[..., Reading]
RATINGS = "userId,movieId,rating\n1,10,4\n1,20,3\n2,10,5\n2,30,1\n"
MOVIES = "movieId,title\n10,A\n20,B\n30,C\n40,D\n"


@pytest.fixture
def look(policy: Policy) -> Look:
    """Reads sources given as paths or DataSources, as the layout given."""

    def look_at(*sources: Path | DataSource, layout: str = "") -> Reading:
        given = [s if isinstance(s, DataSource) else DataSource(str(s)) for s in sources]
        return reading.look(references.resolve(given, policy), policy, layout=layout)

    return look_at


def tree(root: Path, *names: str, **texts: str) -> Path:
    for name in names:
        write(root / "data" / name, f"file {name}")
    for name, text in texts.items():
        write(root / "data" / name.replace("__", "."), text)
    return root / "data"


def pairs(dataset: Dataset, split: str = "train") -> list[tuple[str, str]]:
    table = dataset.splits[split].table
    assert table is not None
    assert list(table.columns) == ["image", "mask"]
    known = {file.name for file in dataset.splits[split].files}
    assert set(table["image"]) | set(table["mask"]) == known
    return list(zip(table["image"], table["mask"], strict=True))


def guessed(found: Reading) -> dict[str, str]:
    assert all(guess.why and guess.overrule for guess in found.guesses)
    return {guess.what: guess.value for guess in found.guesses}


# --- masks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "train", "test"),
    [
        (
            ("images/1.jpg", "images/2.jpg", "masks/1.png", "masks/2.png"),
            [("images/1.jpg", "masks/1.png"), ("images/2.jpg", "masks/2.png")],
            [],
        ),
        (
            ("train/imgs/1.jpg", "train/labels/1.png", "test/imgs/2.jpg", "test/labels/2.png"),
            [("imgs/1.jpg", "labels/1.png")],
            [("imgs/2.jpg", "labels/2.png")],
        ),
        (
            ("images/train/1.jpg", "images/val/2.jpg", "masks/train/1.png", "masks/val/2.png"),
            [("images/1.jpg", "masks/1.png")],
            [],
        ),
        (
            ("train/1.jpg", "train_masks/1_mask.gif", "test/2.jpg", "testannot/2.png"),
            [("1.jpg", "masks/1_mask.gif")],
            [("2.jpg", "annot/2.png")],
        ),
        (("a/1.tif", "a/1_mask.tif"), [("a/1.tif", "a/1_mask.tif")], []),
        (
            ("images/a/1.jpg", "images/b/1.jpg", "gt/a/1.png", "gt/b/1.png"),
            [("images/a/1.jpg", "gt/a/1.png"), ("images/b/1.jpg", "gt/b/1.png")],
            [],
        ),
    ],
)
def test_pictures_and_masks(
    root: Path,
    look: Look,
    files: tuple[str, ...],
    train: list[tuple[str, str]],
    test: list[tuple[str, str]],
) -> None:
    found = look(tree(root, *files))
    assert (found.dataset.layout, found.dataset.content) == ("image_masks", "image")
    assert pairs(found.dataset) == train
    assert (pairs(found.dataset, "test") if test else []) == test
    assert guessed(found)["layout"] == "image_masks"
    assert found.findings == ()


def test_pictures_without_mask_are_left_out_and_named(root: Path, look: Look) -> None:
    files = ["images/1.jpg", "images/2.jpg", "images/3.jpg", "masks/1.png", "masks/2.png"]
    found = look(tree(root, *files, "masks/9.png"))
    assert len(pairs(found.dataset)) == 2
    assert {f.kind: f.message for f in found.findings} == {
        "pictures_without_mask": "1 train pictures have no mask of the same name and were left "
        "out: 'images/3.jpg'",
        "masks_without_picture": "1 train masks have no picture of the same name and were left "
        "out: 'masks/9.png'",
    }


def test_two_archives_of_pictures_and_masks_stay_apart(root: Path, look: Look) -> None:
    for name in ("a", "b"):
        with zipfile.ZipFile(root / f"{name}.zip", "w") as archive:
            archive.writestr("images/1.jpg", f"picture {name}")
            archive.writestr("masks/1.png", f"mask {name}")
    first, second = (
        DataSource(str(root / "a.zip"), "train"),
        DataSource(str(root / "b.zip"), "test"),
    )
    dataset = look(first, second).dataset
    contents = [file.read() for file in dataset.splits["test"].files]
    assert contents == [b"picture b", b"mask b"]


# --- legends ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("class_dict__csv", "name,r,g,b\nsky,0,0,255\nroad,9,9,9\n", ["name", "r", "g", "b"]),
        ("labelmap__csv", "value,class\n0,sky\n1,road\n", ["name", "value"]),
        ("legend__json", json.dumps({"sky": [0, 0, 255], "road": "#090909"}), list("rgb")),
        ("classes__json", json.dumps({"0": "sky", "1": "road"}), ["name", "value"]),
    ],
)
def test_a_legend_beside_masks(
    root: Path, look: Look, name: str, text: str, columns: list[str]
) -> None:
    found = look(tree(root, "images/1.jpg", "masks/1.png", **{name: text}))
    legend = found.dataset.tables["legend"]
    assert set(columns) <= set(legend.columns)
    assert legend["name"].tolist() == ["sky", "road"]
    assert guessed(found)["legend"] == "sky, road"


def test_a_legend_with_its_role(root: Path, look: Look) -> None:
    data = tree(root, "images/1.jpg", "masks/1.png")
    table = write(root / "x.csv", "name,value\nsky,0\nroad,1\n")
    found = look(data, DataSource(str(table), role="legend"))
    assert found.dataset.tables["legend"]["value"].tolist() == [0, 1]
    other = write(root / "y.csv", "a,b\n1,2\n")
    with pytest.raises(InvalidArgument, match=r"y\.csv is no legend: it has the columns 'a', 'b'"):
        look(data, DataSource(str(other), role="legend"))


def test_what_is_no_legend() -> None:
    assert as_legend(pd.DataFrame({"name": ["a"], "r": [1], "g": [2]})) is None
    assert as_legend(pd.DataFrame({"name": ["a"], "value": ["x"]})) is None
    for text in (b"{", b"[]", b"3", b'[{"a": 1}]', b"[" * 100_000):
        assert legend_from_json(text) is None
    listed = legend_from_json(b'["sky", "road"]')
    assert listed is not None
    assert listed["value"].tolist() == [0, 1]


# --- sounds and texts ------------------------------------------------------------------------


@pytest.mark.parametrize(("ending", "content"), [("wav", "audio"), ("txt", "text")])
def test_class_folders_of_any_kind(root: Path, look: Look, ending: str, content: str) -> None:
    names = [f"{split}/{c}/{c}.{ending}" for split in ("train", "test") for c in ("cat", "dog")]
    dataset = look(tree(root, *names, "README.md", "LICENSE")).dataset
    assert (dataset.layout, dataset.content) == ("class_folders", content)
    assert [file.name for file in dataset.splits["test"].files] == [
        f"cat/cat.{ending}",
        f"dog/dog.{ending}",
    ]


def test_class_folders_of_several_kinds_are_none(root: Path, look: Look) -> None:
    dataset = look(tree(root, "cat/1.jpg", "dog/2.wav")).dataset
    assert (dataset.layout, dataset.content) == ("files", "")
    write(root / "other" / "train" / "cat" / "1.jpg")
    write(root / "other" / "test" / "cat" / "2.wav")
    with pytest.raises(InvalidArgument, match="of kind 'image' and the test data of kind 'audio'"):
        look(root / "other")


@pytest.mark.parametrize(("ending", "content"), [("wav", "audio"), ("txt", "text")])
def test_tables_that_name_files_of_any_kind(
    root: Path, look: Look, ending: str, content: str
) -> None:
    table = f"file,label\na.{ending},cat\nb.{ending},dog\n"
    found = look(tree(root, f"x/a.{ending}", f"x/b.{ending}", labels__csv=table))
    assert (found.dataset.layout, found.dataset.content) == ("file_table", content)
    assert guessed(found)["file column"] == "file"


def test_notes_beside_a_table_name_nothing(root: Path, look: Look) -> None:
    assert look(tree(root, "licence.txt", t__csv="a,b\n1,x\n")).dataset.layout == "table"


# --- side tables -----------------------------------------------------------------------------


def test_a_side_table_is_told_by_its_key(root: Path, look: Look) -> None:
    train, movies = write(root / "train.csv", RATINGS), write(root / "movies.csv", MOVIES)
    test = write(root / "test.csv", "userId,movieId,rating\n1,40,2\n")
    found = look(train, movies, DataSource(str(test), "test"))
    assert found.dataset.layout == "table"
    assert {s: len(d.table) for s, d in found.dataset.splits.items() if d.table is not None} == {
        "train": 4,
        "test": 1,
    }
    assert list(found.dataset.tables) == ["items"]
    assert found.dataset.tables["items"]["title"].tolist() == list("ABCD")
    assert guessed(found)["role of movies.csv"] == "items"
    assert look(movies, train).dataset.name == "movies.csv"
    assert list(look(movies, train).dataset.tables) == ["items"]


@pytest.mark.parametrize(
    ("name", "text", "role"),
    [
        ("people.csv", "userId,age\n1,30\n2,40\n", "users"),
        ("movies.csv", "id,title\n10,A\n20,B\n30,C\n", "items"),
        ("things.csv", "movieId,title\n10,A\n20,B\n30,C\n", "items"),
    ],
)
def test_roles_by_name(root: Path, look: Look, name: str, text: str, role: str) -> None:
    found = look(write(root / "r.csv", RATINGS), write(root / name, text))
    assert list(found.dataset.tables) == [role]


def test_a_role_that_is_said_wins(root: Path, look: Look) -> None:
    train, movies = write(root / "train.csv", RATINGS), write(root / "movies.csv", MOVIES)
    dataset = look(train, DataSource(str(movies), role="films")).dataset
    assert list(dataset.tables) == ["films"]
    # Not even tables of the same columns are put together then.
    dataset = look(train, DataSource(str(train), role="old")).dataset
    assert list(dataset.tables) == ["old"]
    folder = tree(root, **{"movies__csv": MOVIES})
    assert list(look(train, DataSource(str(folder), role="items")).dataset.tables) == ["items"]
    with pytest.raises(InvalidArgument, match="there is no training data"):
        look(DataSource(str(movies), role="items"))


@pytest.mark.parametrize(
    "text",
    ["movieId,title\n10,A\n10,B\n", "movieId,title\n77,A\n88,B\n", "title,year\nA,1\nB,2\n"],
)
def test_tables_that_have_nothing_to_do_with_each_other(root: Path, look: Look, text: str) -> None:
    train, other = write(root / "train.csv", RATINGS), write(root / "other.csv", text)
    with pytest.raises(InvalidArgument, match=r"different columns .* split or role"):
        look(train, other)


def test_a_side_table_beside_files(root: Path, look: Look) -> None:
    data = tree(root, "cat/1.jpg", "dog/2.jpg")
    extra = write(root / "more.csv", "class,size\ncat,1\ndog,2\n")
    dataset = look(data, DataSource(str(extra), role="classes")).dataset
    assert (dataset.layout, list(dataset.tables)) == ("class_folders", ["classes"])


# --- layouts that are asked for --------------------------------------------------------------


def test_a_layout_that_is_asked_for(root: Path, look: Look) -> None:
    table = "file,label\n1.jpg,cat\n2.jpg,dog\n"
    data = tree(root, "cat/1.jpg", "dog/2.jpg", labels__csv=table)
    assert look(data).dataset.layout == "file_table"
    for layout in ("table", "class_folders", "file_table", "files"):
        found = look(data, layout=layout)
        assert found.dataset.layout == layout
        assert "layout" not in guessed(found)
    rows = look(data, layout="table").dataset.splits["train"].table
    assert rows is not None
    assert rows["file"].tolist() == ["1.jpg", "2.jpg"]


@pytest.mark.parametrize(
    ("files", "layout", "why"),
    [
        ({"cat/1.jpg": ""}, "table", "there is no table among the files"),
        ({"t.csv": "a,b\n1,2\n"}, "files", "it is tables alone"),
        ({"1.jpg": "", "t.csv": "a,b\n7,2\n"}, "file_table", "no column of a table names files"),
        ({"1.jpg": ""}, "class_folders", "each in a folder named after its class"),
        ({"cat/1.jpg": ""}, "image_masks", "no picture has a mask of the same name"),
        ({"1.jpg": ""}, "pictures", "there is no layout 'pictures'; there are table, "),
    ],
)
def test_a_layout_that_cannot_be(
    root: Path, look: Look, files: Mapping[str, str], layout: str, why: str
) -> None:
    for name, text in files.items():
        write(root / "d" / name, text)
    with pytest.raises(InvalidArgument, match=why) as caught:
        look(root / "d", layout=layout)
    assert caught.value.violations[0].field == "dataset.layout"


def test_tables_alone_are_no_files(root: Path, look: Look) -> None:
    with pytest.raises(InvalidArgument, match="it is tables alone; add a folder or archive"):
        look(write(root / "t.csv", "a,b\n1,2\n"), layout="file_table")
    with pytest.raises(InvalidArgument, match="sample://wine is 'table' and cannot be read as"):
        look(DataSource("sample://wine"), layout="files")
