"""Items to predict from files, and predictions into files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from seedbed import Classification, InvalidArgument, ModelInput, Regression
from seedbed.cli.predict_files import read_items, write_predictions

TABLE = (ModelInput("age", "numeric"), ModelInput("city", "category"))
PICTURE = (ModelInput("image", "image"),)


def test_csv_cells_become_what_the_model_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('age,city,income\n39,"Oslo, N",1\n,  ,0\n1.5,007,1\n')
    labels, rows = read_items(path, TABLE)
    assert labels == ["1", "2", "3"]
    assert rows == [
        {"age": 39, "city": "Oslo, N"},
        {"age": None, "city": "  "},
        {"age": 1.5, "city": "007"},
    ]
    assert capsys.readouterr().err == "left out the column income, which the model does not read\n"


def test_a_missing_column_is_left_to_the_server(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("age\nold\n")
    assert read_items(path, TABLE)[1] == [{"age": "old"}]


def test_json_lines_keep_their_types(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"age": 39, "city": null}\n\n{"age": "40", "city": "Rome"}\n')
    assert read_items(path, TABLE)[1] == [{"age": 39, "city": None}, {"age": 40, "city": "Rome"}]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"", "a.csv is empty; its first line must name the columns"),
        ("a.csv", b"age,age\n1,2\n", "a.csv names columns twice: age"),
        ("a.csv", b"age,city\n1\n", "a.csv, line 2: 1 cells where the header has 2"),
        ("a.csv", b"age,city\n1,\xff\xfe\n", "a.csv is not UTF-8 text: save it as UTF-8"),
        ("a.csv", b'age,city\n1,"x"y\n', "a.csv, line 2: "),
        ("a.jsonl", b'{"age": 1}\n{"age"\n', "a.jsonl, line 2: "),
        ("a.jsonl", b"[1]\n", "a.jsonl, line 1: must be a JSON object of column to value"),
        ("a.xlsx", b"x", "can be predicted from .csv, .tsv, .jsonl, pictures and sounds"),
        ("a.png", b"x", "the model reads age, city, not files: give a CSV file"),
    ],
)
def test_says_what_is_wrong_with_a_file(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidArgument) as caught:
        read_items(path, TABLE)
    assert str(caught.value).startswith(f"data: {says}")


def test_pictures_go_as_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "b.png").write_bytes(b"b")
    (tmp_path / "a.JPG").write_bytes(b"a")
    (tmp_path / "notes.txt").write_bytes(b"no picture")
    assert read_items(tmp_path, PICTURE) == (
        ["a.JPG", "cats/b.png"],
        [{"image": b"a"}, {"image": b"b"}],
    )
    assert read_items(tmp_path / "a.JPG", PICTURE) == (["a.JPG"], [{"image": b"a"}])
    table = tmp_path / "list.csv"
    table.write_text("image\ncats/b.png\n")
    assert read_items(table, PICTURE)[1] == [{"image": b"b"}]
    table.write_text("image\nnone.png\n")
    with pytest.raises(InvalidArgument, match=r"image: item 1: .*none.png cannot be read"):
        read_items(table, PICTURE)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidArgument, match=r"data: the folder .*empty holds no pictures"):
        read_items(tmp_path / "empty", PICTURE)


def test_predictions_are_written_in_fixed_columns(tmp_path: Path) -> None:
    answers = [Classification("b", {"b": 0.9, "a": 0.1}), Classification("a", {"a": 0.8, "b": 0.2})]
    write_predictions(tmp_path / "out.csv", ["1", "2"], answers)
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["item", "prediction", "probability of a", "probability of b"]
    assert rows[1] == {
        "item": "2",
        "prediction": "a",
        "probability of a": "0.8",
        "probability of b": "0.2",
    }
    write_predictions(tmp_path / "out.jsonl", ["1"], [Regression(2.5, 2.0, 3.0, 0.9)])
    assert json.loads((tmp_path / "out.jsonl").read_text()) == {
        "item": "1",
        "prediction": 2.5,
        "lower": 2.0,
        "upper": 3.0,
        "confidence": 0.9,
    }


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("out.parquet", "--output: must end in .csv or .jsonl, or be a folder, got 'out.parquet'"),
        ("none/out.csv", "--output: there is no folder"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_the_work(
    tmp_path: Path, name: str, says: str
) -> None:
    with pytest.raises(InvalidArgument, match=says):
        write_predictions(tmp_path / name, [], [], check_only=True)
