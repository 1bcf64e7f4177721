"""CSV and its relatives: finds out the encoding and the dialect, and refuses what is ambiguous."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from seedbed_server.data.content import Content
from seedbed_server.data.encodings import Encoding, Utf8Stream, find_encoding, utf8_pieces
from seedbed_server.data.frames import BadTable, check_columns, to_frame

# What counts as a missing value, with or without quotes. `?` is how the UCI repository writes it.
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "null", "NULL", "None", "?")
DELIMITERS = (",", ";", "\t", "|")

_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_SAMPLE_CHARS = 65_536
_SAMPLE_ROWS = 50
_HEADER_BYTES = 8 * 2**20
# A row must fit into a block; most do into the first.
_BLOCK_BYTES = (8 * 2**20, 32 * 2**20)
_LONGEST_LINE_CHARS = 2**20


def read_delimited(
    content: Content, *, tabs: bool, max_columns: int, max_cells: int
) -> pd.DataFrame:
    """The table in a delimited text file. `tabs` says that the file's name speaks of tabs.

    Values in `MISSING` are missing; spaces around names, and after each delimiter, are not part of
    them. Numbers, true/false and ISO dates and times are recognised; in a file with semicolons
    1,5 is a number. Text that is not UTF-8 is read as what it looks like. The frame's attribute
    `read_as` says what was found out: `delimiter` and `encoding`. Raises BadTable.
    """
    text = _Text(content, find_encoding(content))
    head = text.head(_HEADER_BYTES)
    sample = _sample(head)
    delimiter = _delimiter(sample, tabs)
    _check_header(head, delimiter, max_columns)
    _check_size(text, delimiter, max_cells)
    table = _parse(text, delimiter)
    names = [name.strip() for name in table.column_names]
    check_columns(names, max_columns)
    if not table.num_rows:
        raise BadTable(f"has a header with {len(names)} columns and no rows below it")
    table = table.rename_columns([n or f"Unnamed: {i}" for i, n in enumerate(names)])
    frame = to_frame(_tidy(table, delimiter, _is_spaced(sample, delimiter)))
    frame.attrs["read_as"] = {
        "delimiter": _NAMES[delimiter],
        "encoding": text.encoding.shown,
    }
    return frame


@dataclass(frozen=True, slots=True)
class _Text:
    """A text, read anew as UTF-8 as often as it takes."""

    content: Content
    encoding: Encoding

    def pieces(self) -> Iterator[bytes]:
        return utf8_pieces(self.content, self.encoding)

    def head(self, size: int) -> bytes:
        """The first bytes, at least `size` where there are so many."""
        found = b""
        for piece in self.pieces():
            found += piece
            if len(found) >= size:
                break
        return found

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """A file that Arrow reads, its own where that will do."""
        if self.encoding.codec == "utf-8":
            with self.content.opened() as stream:
                yield stream
        else:
            with Utf8Stream(self.content, self.encoding) as stream:
                yield stream

    def count(self, byte: bytes) -> int:
        return sum(piece.count(byte) for piece in self.pieces())


def _sample(head: bytes) -> str:
    """The first lines, without one that is cut off."""
    sample = head[:_SAMPLE_CHARS]
    if len(sample) < len(head):
        sample = sample[: max(sample.rfind(b"\n"), sample.rfind(b"\r")) + 1] or sample
    return sample.decode("utf-8", errors="ignore")


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


def _check_header(head: bytes, delimiter: str, max_columns: int) -> None:
    record = _first_record(head)
    if len(record) >= _HEADER_BYTES:
        raise BadTable(
            f"has no line break in its first {_HEADER_BYTES:,} bytes; a table has a line with the "
            "names of its columns, and one for each row"
        )
    columns = re.sub(rb'"[^"]*"', b"", record).count(delimiter.encode()) + 1
    if columns > max_columns:
        raise BadTable(f"has {columns:,} columns; at most {max_columns:,} are read")


def _check_size(text: _Text, delimiter: str, max_cells: int) -> None:
    cells = blanks = size = 0
    for piece in text.pieces():
        cells += piece.count(delimiter.encode()) + piece.count(b"\n") + piece.count(b"\r")
        size += len(piece)
        blanks += piece.isspace() and len(piece)
        if cells > max_cells:
            raise BadTable(f"has more than {max_cells:,} values, which are the most that are read")
    if blanks == size:
        raise BadTable(f"is empty ({size} bytes of blanks)")


def _first_record(text: bytes) -> bytes:
    """The header, which ends at the first line break outside quotes."""
    quotes = start = 0
    for match in re.finditer(rb"[\r\n]", text):
        quotes += text.count(b'"', start, match.start())
        start = match.end()
        if quotes % 2 == 0 and match.start() > 0:
            return text[: match.start()]
    return text


def _parse(text: _Text, delimiter: str) -> Any:
    first = _arrow_read(text, delimiter, {})
    # A time of day has no type of its own here; as text it stays the way it was written.
    times = {f.name: pa.string() for f in first.schema if pa.types.is_time(f.type)}
    unique = len(set(first.column_names)) == len(first.column_names)
    return _arrow_read(text, delimiter, times) if times and unique else first


def _arrow_read(text: _Text, delimiter: str, types: dict[str, Any]) -> Any:
    ragged: list[Any] = []

    def note(row: Any) -> str:
        ragged.append(row)
        return "error"

    for block in _BLOCK_BYTES:
        try:
            with text.opened() as stream:
                return pa.csv.read_csv(
                    stream,
                    read_options=pa.csv.ReadOptions(block_size=block),
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
            if "straddl" not in str(error):
                if text.count(b'"') % 2:
                    raise _open_quote(text, delimiter) from error
                raise BadTable(f"cannot be read as delimited text: {error}") from error
    if text.count(b'"') % 2:
        raise _open_quote(text, delimiter)
    raise BadTable(f"has a row of more than {_BLOCK_BYTES[-1]:,} bytes; is it a table?")


def _ragged(text: _Text, delimiter: str, row: Any) -> BadTable:
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


def _open_quote(text: _Text, delimiter: str) -> BadTable:
    line = 1
    for line, _ in _numbered(text, delimiter):  # noqa: B007 - the last one is wanted
        pass
    return BadTable(f'has a quote (") in the row that begins in line {line} and is never closed')


def _count(fields: int) -> str:
    return "1 field" if fields == 1 else f"{fields} fields"


def _numbered(text: _Text, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    with Utf8Stream(text.content, text.encoding) as raw:
        file = io.TextIOWrapper(io.BufferedReader(raw), encoding="utf-8", newline="")
        # A line may be as long as the file, and need not be in memory as a whole.
        lines = iter(partial(file.readline, _LONGEST_LINE_CHARS), "")
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
