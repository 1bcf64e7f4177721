"""Masks, sounds, texts, side tables and legends; and layouts that are asked for."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from seedbed_sdk.dataset import Dataset
from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.readers import Reader
from seedbed_server.data import reading, references
from seedbed_server.data.legends import as_legend, legend_from_json, legend_from_text
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
        ("label_colors__txt", "# R G B\n\n0 0 255\tsky\n9 9 9\t\troad\n", list("rgb")),
        ("labelmap__txt", "# label:color_rgb\r\nsky:0,0,255::\r\nroad:9,9,9::\r\n", list("rgb")),
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
    text = write(root / "label_colors.txt", "0 0 255\tsky\n9 9 9 road\n")
    found = look(data, DataSource(str(text), role="legend"))
    assert found.dataset.tables["legend"]["name"].tolist() == ["sky", "road"]
    other = write(root / "y.csv", "a,b\n1,2\n")
    with pytest.raises(InvalidArgument, match=r"y\.csv is no legend: it has the columns 'a', 'b'"):
        look(data, DataSource(str(other), role="legend"))


@pytest.mark.parametrize(
    "text",
    [
        "0 0 255\tsky dome\n9 9 9 road\n",
        "sky dome 0 0 255\n// no class\n road,9,9,9",
        "\ufeff0,0,255,sky dome\n9,9,9,road",
    ],
)
def test_colours_in_lines_of_text(text: str) -> None:
    legend = legend_from_text(text.encode())
    assert legend is not None
    assert legend.to_dict("list") == {
        "name": ["sky dome", "road"],
        "r": [0, 9],
        "g": [0, 9],
        "b": [255, 9],
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# a b\n",
        "sky\nroad\n",
        "0 0 256 sky",
        "0 0 255 sky\nroad",
        "0 0 255",
        "1 2 3 " + "a" * 999,
    ],
)
def test_lines_of_text_that_are_no_legend(text: str) -> None:
    assert legend_from_text(text.encode()) is None
    assert legend_from_text(text.encode() + b"\n0 0 0 caf\xe9") is None


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


def test_tables_that_a_plugin_reads_in_folders_and_archives(root: Path, policy: Policy) -> None:
    def read_words(path: str) -> pd.DataFrame:
        return pd.DataFrame([line.split() for line in Path(path).open()], columns=["a", "b"])

    reader = Reader(read_words, suffixes=(".words", ".jpg"))
    plugged = replace(policy, readers=dict.fromkeys(reader.keys, reader))
    folder = root / "d"
    write(folder / "train.words", "x 1\ny 2\n")
    write(folder / "test.words", "z 3\n")
    with zipfile.ZipFile(root / "d.zip", "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"wrapped/{path.name}")
    for name in ("d", "d.zip"):
        resolved = references.resolve([DataSource(str(root / name))], plugged)
        dataset = reading.read(resolved, plugged)
        assert dataset.layout == "table"
        rows = {
            s: d.table.to_dict("list") for s, d in dataset.splits.items() if d.table is not None
        }
        assert rows == {
            "train": {"a": ["x", "y"], "b": ["1", "2"]},
            "test": {"a": ["z"], "b": ["3"]},
        }
        assert (
            reading.read(references.resolve([DataSource(str(root / name))], policy), policy).layout
            == "files"
        )
    write(root / "e" / "index.words", "1.jpg cat\n2.jpg dog\n")
    for name in ("1.jpg", "2.jpg"):
        write(root / "e" / name)
    found = reading.read(references.resolve([DataSource(str(root / "e"))], plugged), plugged)
    assert (found.layout, found.content) == ("file_table", "image")


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


# --- how tables are written ------------------------------------------------------------------


def test_how_a_table_was_read_where_that_is_not_plain(root: Path, look: Look) -> None:
    odd = "größe;art\n1,5;süß\n2,5;herb\n".encode("cp1252")
    found = look(write(root / "x.csv", odd))
    assert guessed(found)["delimiter of x.csv"] == "semicolon"
    assert guessed(found)["encoding of x.csv"] == "windows-1252"
    overrule = {guess.what: guess.overrule for guess in found.guesses}
    assert overrule["encoding of x.csv"] == "save the table as UTF-8"
    for name, text in (("p.csv", "a,b\n1,2\n"), ("p.tsv", "a\tb\n1\t2\n"), ("q.csv", "a\n1\n")):
        assert set(guessed(look(write(root / name, text)))) == {"layout"}
    assert guessed(look(write(root / "t.csv", "a\tb\n1\t2\n")))["delimiter of t.csv"] == "tab"


def test_tables_that_are_read_alike_are_told_of_together(root: Path, look: Look) -> None:
    parts = tree(root, a__csv="a;b\n1;2\n", b__csv="a;b\n3;4\n", c__csv="a,b\n5;,6\n")
    assert guessed(look(parts))["delimiter of a.csv and 1 more"] == "semicolon"


@pytest.mark.parametrize("role", ["", "classes"])
def test_how_a_table_beside_files_was_read(root: Path, look: Look, role: str) -> None:
    data = tree(root, "cat/1.jpg", "dog/2.jpg")
    table = write(root / "t.csv", "file;label\n1.jpg;cat\n2.jpg;dog\n")
    found = look(data, DataSource(str(table), role=role))
    assert found.dataset.layout == ("class_folders" if role else "file_table")
    assert guessed(found)["delimiter of t.csv"] == "semicolon"


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
