"""CSV and its relatives: finds out the encoding and the dialect, and refuses what is ambiguous."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from seedbed_server.data.frames import BadTable, check_columns, to_frame

# What counts as a missing value, with or without quotes. `?` is how the UCI repository writes it.
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "null", "NULL", "None", "?")
DELIMITERS = (",", ";", "\t", "|")

_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_SAMPLE_CHARS = 65_536
_SAMPLE_ROWS = 50
_BLOCK_BYTES = 8 * 2**20
_DECODE_BYTES = 2**20
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_BINARY = (
    (b"PK\3\4", "a zip archive or an Office document"),
    (b"\x1f\x8b", "gzip data"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF document"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
)


def read_delimited(data: bytes, *, tabs: bool, max_columns: int, max_cells: int) -> pd.DataFrame:
    """The table in a delimited text file. `tabs` says that the file's name speaks of tabs.

    Values in `MISSING` are missing; spaces around names, and after each delimiter, are not part of
    them. Numbers, true/false and ISO dates and times are recognised; in a file with semicolons
    1,5 is a number. Raises BadTable.
    """
    text = decode(data)
    delimiter = _delimiter(_head(text), tabs)
    _check_shape(text, delimiter, max_columns, max_cells)
    table = _parse(text, delimiter)
    names = [name.strip() for name in table.column_names]
    check_columns(names, max_columns)
    if not table.num_rows:
        raise BadTable(f"has a header with {len(names)} columns and no rows below it")
    table = table.rename_columns([n or f"Unnamed: {i}" for i, n in enumerate(names)])
    return to_frame(_tidy(table, delimiter, _is_spaced(_head(text), delimiter)))


def decode(data: bytes) -> bytes:
    """The text as UTF-8 without a mark; raises BadTable where it is none."""
    encoding, skip = "utf-8", 0
    for mark, name in _MARKS:
        if data.startswith(mark):
            encoding, skip = name, len(mark)
            break
    else:
        for magic, what in _BINARY:
            if data.startswith(magic):
                raise BadTable(f"holds no text: it begins like {what}")
    if encoding != "utf-8":
        try:
            return data[skip:].decode(encoding).encode()
        except UnicodeDecodeError as error:
            raise BadTable(
                f"is marked as {encoding.upper()} and is not, at offset {skip + error.start}; "
                "save it as UTF-8"
            ) from error
    at = data.find(b"\0")
    if at >= 0:
        raise BadTable(
            f"holds binary data: a NUL byte at offset {at} (line {_line(data, at)}); "
            "save it as text in UTF-8"
        )
    _check_utf8(data)
    return data[skip:]


def _check_utf8(data: bytes) -> None:
    if data.isascii():
        return
    view = memoryview(data)
    at = 0
    while at < len(data):
        # A piece ends before a character that goes on in the next.
        end = min(at + _DECODE_BYTES, len(data))
        while end < len(data) and end > at + 1 and data[end] & 0xC0 == 0x80:
            end -= 1
        try:
            codecs.utf_8_decode(view[at:end], "strict", True)
        except UnicodeDecodeError as error:
            offset = at + error.start
            raise BadTable(
                f"is not UTF-8: byte 0x{data[offset]:02X} at offset {offset} "
                f"(line {_line(data, offset)}); convert it to UTF-8, for example with "
                "iconv -f WINDOWS-1252 -t UTF-8"
            ) from error
        at = end


def _line(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1


def _head(text: bytes) -> str:
    head = text[:_SAMPLE_CHARS]
    if len(head) < len(text):
        head = head[: max(head.rfind(b"\n"), head.rfind(b"\r")) + 1] or head
    return head.decode("utf-8", errors="ignore")


def _rows(text: str, delimiter: str) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            if row:
                rows.append(row)
            if len(rows) == _SAMPLE_ROWS:
                break
    except csv.Error:
        pass  # A field longer than the sample: what was read so far decides.
    return rows


def _delimiter(head: str, tabs: bool) -> str:
    """The one that gives the most rows the header's number of fields, and then the most fields; or
    the tab where it is expected and gives half of them that number."""

    def fit(delimiter: str) -> tuple[float, int]:
        rows = _rows(head, delimiter)
        if not rows or len(rows[0]) < 2:
            return (0.0, 0)
        alike = Counter(map(len, rows))[len(rows[0])] / len(rows)
        return (round(alike, 1), len(rows[0]))

    if tabs and fit("\t")[0] >= 0.5:
        return "\t"
    return max(DELIMITERS, key=fit)


def _is_spaced(head: str, delimiter: str) -> bool:
    rows = _rows(head, delimiter)[1:]
    fields = [field for row in rows for field in row[1:]]
    return bool(fields) and all(field.startswith(" ") for field in fields)


def _check_shape(text: bytes, delimiter: str, max_columns: int, max_cells: int) -> None:
    header = re.sub(rb'"[^"]*"', b"", _first_record(text))
    columns = header.count(delimiter.encode()) + 1
    if columns > max_columns:
        raise BadTable(f"has {columns:,} columns; at most {max_columns:,} are read")
    cells = text.count(delimiter.encode()) + text.count(b"\n") + text.count(b"\r")
    if cells > max_cells:
        raise BadTable(f"has about {cells:,} values; at most {max_cells:,} are read")


def _first_record(text: bytes) -> bytes:
    """The header, which ends at the first line break outside quotes."""
    quotes = start = 0
    for match in re.finditer(rb"[\r\n]", text):
        quotes += text.count(b'"', start, match.start())
        start = match.end()
        if quotes % 2 == 0 and match.start() > 0:
            return text[: match.start()]
    return text


def _parse(text: bytes, delimiter: str) -> Any:
    first = _arrow_read(text, delimiter, {})
    # A time of day has no type of its own here; as text it stays the way it was written.
    times = {f.name: pa.string() for f in first.schema if pa.types.is_time(f.type)}
    unique = len(set(first.column_names)) == len(first.column_names)
    return _arrow_read(text, delimiter, times) if times and unique else first


def _arrow_read(text: bytes, delimiter: str, types: dict[str, Any]) -> Any:
    ragged: list[Any] = []

    def note(row: Any) -> str:
        ragged.append(row)
        return "error"

    for block in (_BLOCK_BYTES, len(text) + 1):
        try:
            return pa.csv.read_csv(
                pa.py_buffer(text),
                read_options=pa.csv.ReadOptions(block_size=min(block, 2**31 - 1)),
                parse_options=pa.csv.ParseOptions(
                    delimiter=delimiter, newlines_in_values=True, invalid_row_handler=note
                ),
                convert_options=pa.csv.ConvertOptions(
                    null_values=list(MISSING),
                    strings_can_be_null=True,
                    true_values=["true", "True", "TRUE"],
                    false_values=["false", "False", "FALSE"],
                    column_types=types,
                ),
            )
        except pa.ArrowInvalid as error:
            if ragged:
                raise _ragged(text, delimiter, ragged[0]) from error
            if "straddl" not in str(error) or block > len(text):
                if text.count(b'"') % 2:
                    raise _open_quote(text, delimiter) from error
                raise BadTable(f"cannot be read as delimited text: {error}") from error
    raise AssertionError("the second block holds everything")


def _ragged(text: bytes, delimiter: str, row: Any) -> BadTable:
    expected, found, where = row.expected_columns, row.actual_columns, "a row"
    for line, fields in _numbered(text, delimiter):
        if fields and len(fields) != expected:
            where, found = f"line {line}", len(fields)
            break
    unclosed = "; a quote in it may not be closed" if text.count(b'"') % 2 else ""
    return BadTable(
        f"has {_count(found)} in {where} where the header has {expected} (the delimiter is the "
        f"{_NAMES[delimiter]}); quote values that contain it, or mend the row{unclosed}"
    )


def _open_quote(text: bytes, delimiter: str) -> BadTable:
    line = 1
    for line, _ in _numbered(text, delimiter):  # noqa: B007 - the last one is wanted
        pass
    return BadTable(f'has a quote (") in the row that begins in line {line} and is never closed')


def _count(fields: int) -> str:
    return "1 field" if fields == 1 else f"{fields} fields"


def _numbered(text: bytes, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    lines = io.TextIOWrapper(io.BytesIO(text), encoding="utf-8", newline="")
    reader = csv.reader(lines, delimiter=delimiter)
    before = 0
    try:
        for fields in reader:
            yield before + 1, fields
            before = reader.line_num
    except csv.Error:
        return  # A field too long for this reader; what was found before it stands.


def _tidy(table: Any, delimiter: str, spaced: bool) -> Any:
    missing = pa.array(MISSING)
    for i, name in enumerate(table.column_names):
        column = table.column(i)
        if not pa.types.is_string(column.type):
            continue
        if spaced:
            stripped = pc.utf8_trim_whitespace(column)
            absent = pc.is_in(stripped, value_set=missing)
            column = _as_numbers(pc.if_else(absent, pa.scalar(None, pa.string()), stripped))
        if delimiter == ";" and pa.types.is_string(column.type):
            column = _with_decimal_comma(column)
        table = table.set_column(i, name, column)
    return table


def _as_numbers(column: Any) -> Any:
    for kind in (pa.int64(), pa.float64()):
        try:
            return pc.cast(column, kind)
        except pa.ArrowInvalid:
            continue
    return column


def _with_decimal_comma(column: Any) -> Any:
    present = column.drop_null()
    if not len(present):
        return column
    if not pc.all(pc.match_substring_regex(present, r"^\s*[+-]?\d+(,\d+)?\s*$")).as_py():
        return column
    dotted = pc.replace_substring(pc.utf8_trim_whitespace(column), ",", ".")
    return pc.cast(dotted, pa.float64())
