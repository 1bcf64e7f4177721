"""Table files: what is understood, and what is refused with which words."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.readers import Reader
from seedbed_server.data.delimited import MISSING
from seedbed_server.data.dialects import DELIMITERS
from seedbed_server.data.references import Policy
from seedbed_server.data.tables import is_table, read_table

FIELD = "dataset.sources[2].uri"
POLICY = Policy((), Path("/nowhere"))


def read(data: bytes | str | Path, name: str = "x.csv", policy: Policy = POLICY) -> pd.DataFrame:
    source = data.encode() if isinstance(data, str) else data
    return read_table(source, name=name, field=FIELD, policy=policy)


def refusal(data: bytes | str | Path, name: str = "x.csv", policy: Policy = POLICY) -> str:
    with pytest.raises(InvalidArgument) as caught:
        read(data, name, policy)
    assert caught.value.violations[0].field == FIELD
    assert caught.value.reason == "BAD_TABLE"
    text = caught.value.violations[0].description
    assert text.startswith(f"{name} ")
    return text.removeprefix(f"{name} ")


def zstd(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data, asbytes=True))


def cells(frame: pd.DataFrame) -> dict[str, list[object]]:
    plain = frame.astype(object).where(frame.notna(), None)
    return {str(name): list(plain[name]) for name in plain.columns}


# --- delimited text --------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", DELIMITERS)
def test_finds_the_delimiter(delimiter: str) -> None:
    text = "name,size|x y\nA,1|p\nB,2|q\n".replace("|", ",").replace(",", delimiter)
    assert list(read(text).columns) == ["name", "size", "x y"]
    assert read(text)["size"].tolist() == [1, 2]


def test_the_delimiter_that_makes_even_rows_wins() -> None:
    text = "a;b, or so;c\n1,5;2;x\n2,5;3;y, z, w\n"
    assert cells(read(text)) == {"a": [1.5, 2.5], "b, or so": [2, 3], "c": ["x", "y, z, w"]}


def test_tabs_win_in_a_tsv() -> None:
    assert list(read("a,b\tc,d\n1,2\t3,4\n", "x.tsv").columns) == ["a,b", "c,d"]


def test_types_of_columns() -> None:
    frame = read("i,f,b,d,t,s,e\n1,1.5,true,2024-01-05,12:30,x,\n2,,false,2024-02-29,09:15,,NA\n")
    kinds = [frame[name].dtype.kind for name in ("i", "f", "b", "d")]
    assert kinds == ["i", "f", "b", "M"]
    assert frame["t"].tolist() == ["12:30", "09:15"]
    assert frame["s"].isna().tolist() == [False, True]
    assert frame["e"].isna().all()


@pytest.mark.parametrize("marker", MISSING)
def test_missing_values(marker: str) -> None:
    for text in (f"a,b\n{marker},1\nx,2\n", f'a,b\n"{marker}",1\nx,2\n'):
        assert read(text)["a"].isna().tolist() == [True, False]


def test_words_that_are_no_missing_values() -> None:
    assert read("a,b\nnone,1\n-,2\nna,3\n")["a"].tolist() == ["none", "-", "na"]


def test_spaces_around_names_and_after_delimiters() -> None:
    frame = read(" age , work,pay \n39, State-gov, 7\n50, ?, ?\n")
    assert cells(frame) == {"age": [39, 50], "work": ["State-gov", None], "pay": [7.0, None]}
    assert read("a,b\n1, x\n2,y\n")["b"].tolist() == [" x", "y"]


def test_quotes_and_line_breaks() -> None:
    frame = read('a,"b\n c"\r\n"x, ""y""",1\r\n"two\nlines",2\r\n')
    assert cells(frame) == {"a": ['x, "y"', "two\nlines"], "b\n c": [1, 2]}
    assert read("a,b\r1,2\r3,4\r")["b"].tolist() == [2, 4]


def test_a_value_larger_than_a_block() -> None:
    long = "line\n" * 2_000_000
    assert read(f'a,b\n"{long}",1\nx,2\n')["a"].tolist() == [long, "x"]


def test_columns_without_a_name_get_one() -> None:
    assert list(read(",a,\n0,1,2\n").columns) == ["Unnamed: 0", "a", "Unnamed: 2"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings(encoding: str) -> None:
    assert cells(read("naïve,größe\né,1\n".encode(encoding))) == {"naïve": ["é"], "größe": [1]}


def test_utf_8_is_checked_across_pieces() -> None:
    text = "a,b\n" + "x,é\n" * 400_000
    assert len(read(text)) == 400_000
    data = text.encode() + b"x,\xe9\n"
    assert f"byte 0xE9 at offset {len(data) - 2} (line 400002)" in refusal(data)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "is empty (0 bytes)"),
        (b" \n\n", "is empty (3 bytes of blanks)"),
        (b"a,b,c\n", "has a header with 3 columns and no rows below it"),
        (
            b"a,b\n1,2\n3\n",
            "has 1 field in line 3 where the header has 2 (the delimiter is the comma); quote "
            "values that contain it, or mend the row",
        ),
        (b'a;b\n"1\n2";2\n3;4;5\n', "has 3 fields in line 4 where the header has 2"),
        (b"a,b,a,b\n1,2,3,4\n", "has several columns named 'a', 'b'; rename all but one"),
        (b"a, a\n1,2\n", "has several columns named 'a'"),
        (b"a,b\n1,\0\n", "holds binary data: a NUL byte at offset 6 (line 2)"),
        (
            "a,b\n1,é\n".encode() + b"2,\xe9\n",
            "is not UTF-8 throughout: byte 0xE9 at offset 11 (line 3) is not, and other lines are, "
            "so that it mixes encodings; write that line anew, and save all of it as UTF-8",
        ),
        (
            b"a,b\n\x01,\xe9\n",
            "is not UTF-8: byte 0xE9 at offset 6 (line 2); convert it to UTF-8, for example with "
            "iconv -f WINDOWS-1252 -t UTF-8",
        ),
        (b"\xff\xfea\0,\0\x00\xd8b\0", "is marked as UTF-16-LE and is not, at offset 6"),
        (b'a,b\n"1,2\n', 'has a quote (") in the row that begins in line 2'),
        (b'a,"b\n1,2\n3,4\n', 'has a quote (") in the row that begins in line 1'),
        (b"\x89PNG\r\n\x1a\n", "holds no text: it begins like a PNG picture"),
        (b"PK\3\4abc", "holds no text: it begins like a zip archive or an Office document"),
    ],
)
def test_refuses_text(data: bytes, text: str) -> None:
    assert text in refusal(data)


def test_refuses_too_many_columns() -> None:
    wide = ",".join(f"c{i}" for i in range(10_001))
    assert refusal(f"{wide}\n") == "has 10,001 columns; at most 10,000 are read"
    quoted = ",".join(f'"c\n{i}"' for i in range(10_001))
    assert refusal(f"{quoted}\n") == "has 10,001 columns; at most 10,000 are read"
    assert len(read('"a,b,c",d\n1,2\n', policy=replace(POLICY, max_columns=2)).columns) == 2


def test_refuses_too_many_values_and_bytes() -> None:
    small = replace(POLICY, max_table_bytes=1000)
    assert "has more than 250 values, which are the most that are read" in refusal(
        ",\n" * 250, policy=small
    )
    text = refusal("a,b\n" * 300, policy=small)
    assert text == "has 1,200 bytes; tables of at most 1,000 are read"


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).map(
    str.strip
)
values = st.one_of(
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=12).map(
        "t{}".format
    ),
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[object]]]:
    header = draw(st.lists(names.filter(bool), min_size=2, max_size=5, unique=True))
    rows = draw(st.lists(st.tuples(*[values] * len(header)), min_size=1, max_size=6))
    return header, [list(row) for row in rows]


@given(tables(), st.sampled_from([",", "\t"]))
def test_what_csv_writes_is_read_back(
    table: tuple[list[str], list[list[object]]], delimiter: str
) -> None:
    header, rows = table
    file = io.StringIO(newline="")
    # All quoted, so that the delimiter is the only one that can be meant.
    csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    frame = read(file.getvalue(), "x.tsv" if delimiter == "\t" else "x.csv")
    assert list(frame.columns) == header
    for name, column in zip(header, zip(*rows, strict=True), strict=True):
        if all(isinstance(value, int | float) for value in column):
            assert frame[name].astype(float).tolist() == [float(value) for value in column]
        elif all(isinstance(value, str) for value in column):
            assert frame[name].tolist() == list(column)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for name in ("x.csv", "x.tsv", "x.jsonl", "x.parquet", "x.arrow"):
        try:
            assert len(read(data, name)) > 0
        except InvalidArgument as error:
            assert error.message.startswith(f"{FIELD}: {name} ")


def read_as(frame: pd.DataFrame) -> tuple[str, str]:
    return frame.attrs["read_as"]["delimiter"], frame.attrs["read_as"]["encoding"]


@pytest.mark.parametrize(
    ("text", "codec", "shown"),
    [
        ("name,ort\nMüller,Köln\n", "cp1252", "windows-1252"),
        ("a,b\n1,é\n", "latin-1", "windows-1252"),
        ("price,x\n“5 €”,a\n‘7 €’,b\n", "cp1252", "windows-1252"),
        ("miasto,a\nŁódź,1\nKraków,2\nGdańsk,3\nWrocław,4\n", "cp1250", "windows-1250"),
        ("город,имя\nМосква,Иван\nСанкт-Петербург,Пётр\n", "cp1251", "windows-1251"),
        ("город,имя\nМосква,Иван\nСанкт-Петербург,Пётр\n", "koi8_r", "koi8-r"),
        ("πόλη,a\nΑθήνα,1\nΘεσσαλονίκη,2\nΠάτρα,3\n", "cp1253", "windows-1253"),
        ("都市,名前\n東京,田中さんはいい人です\n大阪,山本\n", "shift_jis", "shift-jis"),
        ("城市,名字\n北京,王小明\n广州,我们今天去学校\n", "gb18030", "gb18030"),
        ("도시,이름\n서울,김철수\n부산,이영희입니다\n", "euc_kr", "euc-kr"),
        ("naïve,größe\né,1\n", "utf-16-le", "utf-16-le"),
        ("naïve,größe\né,1\n", "utf-16-be", "utf-16-be"),
        ("naïve,größe\né,1\n", "utf-8", "utf-8"),
    ],
)
def test_finds_the_encoding(text: str, codec: str, shown: str) -> None:
    frame = read(text.encode(codec))
    assert read_as(frame) == ("comma", shown)
    assert cells(frame) == cells(read(text))


def test_an_encoding_is_read_across_pieces() -> None:
    text = "Straße,b\n" + "Müller,é\n" * 200_000
    frame = read(text.encode("cp1252"))
    assert frame["b"].tolist() == ["é"] * 200_000
    # cp1252 leaves the byte open.
    assert "looks like windows-1252 and is not, at offset" in refusal(
        text.encode("cp1252") + b"\x81,x\n"
    )


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_packed_text(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    ending = ".gz" if pack is gzip.compress else ".zst"
    text = "a;b\n" + "1,5;é\n" * 50_000
    (tmp_path / "x").write_bytes(pack(text.encode()))
    for source in (tmp_path / "x", pack(text.encode())):
        frame = read(source, f"x.CSV{ending}")
        assert frame["a"].tolist() == [1.5] * 50_000
        assert frame["b"].iloc[-1] == "é"
    assert len(read(pack(text.encode("cp1252")), f"x.csv{ending}")) == 50_000
    assert read(pack(b'{"a": 1}\n{"a": 2}\n'), f"x.jsonl{ending}")["a"].tolist() == [1, 2]
    assert is_table(f"x.csv{ending}")
    assert not is_table(f"x{ending}")


def test_packed_text_in_several_parts() -> None:
    data = gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"3,4\n")
    assert read(data, "x.csv.gz")["a"].tolist() == [1, 3]


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_packed_text_is_bounded(pack: Callable[[bytes], bytes]) -> None:
    name = "x.csv.gz" if pack is gzip.compress else "x.csv.zst"
    bomb = pack(b"a,b\n" + b"1,2\n" * 5_000_000)
    assert "it looks like a decompression bomb" in refusal(bomb, name)
    small = replace(POLICY, max_table_bytes=1_000_000)
    assert "unpacks to more than 1,000,000 bytes" in refusal(bomb, name, small)
    for data in (bomb[: len(bomb) // 2], b"a,b\n1,2\n", bomb[:20] + b"x" * 20):
        assert refusal(data, name)


def test_what_is_packed_twice_or_is_no_text() -> None:
    assert "is a .parquet file that was packed once more" in refusal(b"x", "x.parquet.gz")
    assert "holds no text: it begins like gzip data" in refusal(gzip.compress(b"a,b\n1,2\n"))


def test_a_line_without_end() -> None:
    line = b"x" * (9 * 2**20)
    assert "has no line break in its first 8,388,608 bytes" in refusal(line + b"\n1\n")
    assert "has a line of more than 33,554,432 bytes" in refusal(line * 4, "x.jsonl")


def test_a_row_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seedbed_server.data.delimited._BLOCK_BYTES", (1_000, 5_000))
    assert read(b"a,b\n" + b"x" * 2_000 + b",1\n" + b"y,2\n" * 1_000)["b"].sum() == 2_001
    text = refusal(b"a,b\n1," + b"x" * 20_000 + b"\n" + b"y,2\n" * 1_000)
    assert text == "has a row of more than 5,000 bytes; is it a table?"


def test_infinity_is_a_number_and_nan_is_missing() -> None:
    frame = read("a,b\ninf,1\n-inf,2\nNaN,3\n1.5,4\n")
    assert frame["a"].tolist()[:2] == [float("inf"), float("-inf")]
    assert frame["a"].isna().tolist() == [False, False, True, False]


# --- Parquet, Arrow, JSON Lines --------------------------------------------------------------


def frame_of_all_kinds() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "i": [1, 2, 3],
            "f": [1.5, None, 2.5],
            "s": ["x", "y", None],
            "c": pd.Categorical(["u", "v", "u"]),
            "d": pd.to_datetime(pd.Series(["2024-01-01", "2024-01-02", None], index=[7, 8, 9])),
            " b ": [True, False, True],
        },
        index=[7, 8, 9],
    )


def parquet(frame: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.to_parquet(file)
    return file.getvalue()


def feather(frame: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.reset_index(drop=True).to_feather(file)
    return file.getvalue()


def stream(frame: pd.DataFrame) -> bytes:
    table = pa.Table.from_pandas(frame)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("name", "make"), [("x.parquet", parquet), ("x.feather", feather), ("x.arrow", stream)]
)
def test_columnar_formats(tmp_path: Path, name: str, make: Callable[[pd.DataFrame], bytes]) -> None:
    frame = frame_of_all_kinds()
    path = tmp_path / name
    path.write_bytes(make(frame))
    expected = cells(frame.reset_index(drop=True).rename(columns={" b ": "b"}))
    for source in (path, path.read_bytes()):
        found = read(source, name)
        assert cells(found) == expected
        assert list(found.index) == [0, 1, 2]


@pytest.mark.parametrize(("name", "make"), [("x.parquet", parquet), ("x.feather", feather)])
@pytest.mark.parametrize("keep", [0.5, 0.97])
def test_truncated_columnar_files(
    name: str, make: Callable[[pd.DataFrame], bytes], keep: float
) -> None:
    data = make(frame_of_all_kinds())
    text = refusal(data[: int(len(data) * keep)], name)
    assert "cannot be read as" in text
    assert "is it complete?" in text


def test_columnar_files_without_rows_or_with_too_much() -> None:
    frame = frame_of_all_kinds()
    assert refusal(parquet(frame.head(0)), "x.parquet").endswith("columns and no rows")
    few = replace(POLICY, max_columns=3)
    assert "columns; at most 3 are read" in refusal(parquet(frame), "x.parquet", few)
    assert "columns; at most 3 are read" in refusal(feather(frame), "x.feather", few)


def test_text_that_parquet_stores_once_is_counted_as_often_as_it_occurs(tmp_path: Path) -> None:
    rows = 200_000
    column = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), ["x" * 1000])
    pq.write_table(
        pa.table({"s": column.cast(pa.string())}), tmp_path / "x.parquet", store_schema=False
    )
    small = replace(POLICY, max_table_bytes=100_000_000)
    assert (tmp_path / "x.parquet").stat().st_size < 1_000_000
    assert "unpacks to about 200,000,000 bytes" in refusal(
        tmp_path / "x.parquet", "x.parquet", small
    )
    assert read(tmp_path / "x.parquet", "x.parquet")["s"].iloc[-1] == "x" * 1000


def test_rows_that_parquet_only_counts_are_refused_before_they_are_made(tmp_path: Path) -> None:
    table = pa.table({f"c{i}": pa.nulls(100_000, pa.int64()) for i in range(10)})
    pq.write_table(table, tmp_path / "x.parquet")
    small = replace(POLICY, max_table_bytes=1_000_000)
    assert "unpacks to about 8,000,000 bytes" in refusal(tmp_path / "x.parquet", "x.parquet", small)


def test_parquet_with_columns_of_the_same_name(tmp_path: Path) -> None:
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "x.parquet")
    assert "several columns named 'a'" in refusal(tmp_path / "x.parquet", "x.parquet")


def test_json_lines() -> None:
    frame = read('{"a": 1, "b": "x"}\n\n{"a": 2, "c": null, "b": [1]}\r\n', "x.jsonl")
    assert cells(frame) == {"a": [1, 2], "b": ["x", [1]], "c": [None, None]}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'{"a": 1}\n{"a": \n', "has no valid JSON in line 2"),
        (b"[1]\n", "has JSON of type list in line 1; every line must be an object such as"),
        (b"[" * 100_000, "has no valid JSON in line 1: maximum recursion"),
        (b"{}\n{}\n", "has no columns: its objects are empty"),
        (b'{"a": "\\ud800"}', "has no valid JSON in line 1"),
        (b'{"a": 1, " a": 2}', "several columns named 'a'"),
        (b'{"a": "\xe9"}', "is not UTF-8: byte 0xE9 at offset 7 (line 1)"),
    ],
)
def test_refuses_json_lines(data: bytes, text: str) -> None:
    assert text in refusal(data, "x.jsonl")


def test_a_list_in_json() -> None:
    frame = read('[{"a": 1, "b": "x"}, {"a": NaN, " c": null}]', "x.json")
    assert cells(frame) == {"a": [1.0, None], "b": ["x", None], "c": [None, None]}
    assert not is_table("x.json")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "is empty (0 bytes)"),
        (b" \n", "is empty (2 bytes of blanks)"),
        (b"[]", "has no rows: its list is empty"),
        (b"[1]", "has JSON of type int in element 1; every element must be an object"),
        (b'{"a": 1}', "holds JSON of type dict; it must be a list of objects"),
        (b"[" * 100_000, "has no valid JSON: maximum recursion"),
        (b'[{"a": 1}', "has no valid JSON"),
    ],
)
def test_refuses_json(data: bytes, text: str) -> None:
    assert text in refusal(data, "x.json")


def test_json_in_one_piece_is_bounded() -> None:
    small = replace(POLICY, max_item_bytes=10)
    assert "has more than 10 bytes" in refusal('[{"a": 12345}]', "x.json", small)


def test_json_lines_with_ever_new_names() -> None:
    lines = "\n".join(f'{{"c{i}": 1}}' for i in range(10_001))
    assert refusal(lines, "x.jsonl") == "has 10,001 columns; at most 10,000 are read"


# --- formats ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "name"), [(b"x", "x.pkl"), (b"x", "x.joblib"), (b"\x80\x04K\x01.", "x.csv")]
)
def test_never_reads_pickles(data: bytes, name: str) -> None:
    text = refusal(data, name)
    assert "never read, since they can run code; save it as Parquet or CSV" in text


def test_unknown_endings_are_told_the_known_ones() -> None:
    text = refusal(b"x", "x.xyz")
    assert "has the ending '.xyz', which is no known format of data" in text
    assert ".csv" in text
    assert ".parquet" in text


@pytest.mark.parametrize("name", ["x.xlsx", "x.xls", "x.ods"])
def test_workbooks_get_a_hint(name: str) -> None:
    assert "is a workbook of a spreadsheet program" in refusal(b"PK\3\4", name)


def test_the_format_of_a_plugin(tmp_path: Path) -> None:
    def read_words(path: str) -> pd.DataFrame:
        return pd.DataFrame({"word": Path(path).read_text().split()}, index=[7, 8])

    reader = Reader(read_words, suffixes=(".words",))
    policy = replace(POLICY, readers=dict.fromkeys(reader.keys, reader))
    (tmp_path / "x.words").write_text("one two")
    for source in (tmp_path / "x.words", b"one two"):
        frame = read(source, "x.words", policy)
        assert cells(frame) == {"word": ["one", "two"]}
        assert list(frame.index) == [0, 1]
    assert is_table("a/x.WORDS", policy.readers)
    assert "cannot be read by its plugin" in refusal(b"one two three", "x.words", policy)
    assert "no known format" in refusal(b"one two", "x.words")


def test_a_file_that_went_away(tmp_path: Path) -> None:
    assert refusal(tmp_path / "x.csv") == "cannot be read: No such file or directory"
