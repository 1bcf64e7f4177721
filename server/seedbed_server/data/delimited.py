"""CSV and its relatives: finds out the encoding and the dialect, and refuses what is ambiguous."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from seedbed_server.data.content import Content
from seedbed_server.data.dialects import (
    DELIMITER_NAMES,
    HEADER_BYTES,
    Text,
    check_header,
    checked_size,
    find_delimiter,
    is_spaced,
    sample_of,
)
from seedbed_server.data.encodings import Utf8Stream, find_encoding
from seedbed_server.data.frames import BadTable, clean_names, to_frame

# What counts as a missing value, with or without quotes. `?` is how the UCI repository writes it.
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "null", "NULL", "None", "?")

MEANINGS: Mapping[str, Any] = MappingProxyType(
    {
        "null_values": list(MISSING),
        "strings_can_be_null": True,
        "true_values": ["true", "True", "TRUE"],
        "false_values": ["false", "False", "FALSE"],
    }
)
"""What values mean, as Arrow's options of conversion."""

ReadOptions = Mapping[str, Any]
ConvertOptions = Mapping[str, Any]

# A row must fit into a block; most do into the first.
_BLOCK_BYTES = (8 * 2**20, 32 * 2**20)
_LONGEST_LINE_CHARS = 2**20
# Arrow takes a quote that is never closed for one at the end of the file; to see it is slow.
_MOST_TO_WALK = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Delimited:
    """A table in a delimited text file, whose dialect is known. `spaced` says that a space follows
    each delimiter; `size` is what the table takes in memory, roughly, in bytes.

    Values in `MISSING` are missing; spaces around names, and after each delimiter, are not part of
    them. Numbers, true/false and ISO dates and times are recognised; in a file with semicolons
    1,5 is a number. Text that is not UTF-8 is read as what it looks like.
    """

    text: Text
    delimiter: str
    spaced: bool
    max_columns: int
    size: int

    @property
    def read_as(self) -> dict[str, str]:
        """What was found out, as `delimiter` and `encoding`."""
        return {"delimiter": DELIMITER_NAMES[self.delimiter], "encoding": self.text.encoding.shown}

    def read(self) -> pd.DataFrame:
        """The whole table. Raises BadTable."""
        table = self._parse()
        table = table.rename_columns(clean_names(table.column_names, self.max_columns))
        if not table.num_rows:
            raise no_rows(table.num_columns)
        return to_frame(self.tidied(table))

    def tidied(self, table: Any) -> Any:
        """An Arrow table of some columns, as they were parsed, with the values that they mean."""
        return _tidy(table, self.delimiter, self.spaced)

    def parse(self, reader: Callable[..., Any], read: ReadOptions, convert: ConvertOptions) -> Any:
        """What Arrow's `reader` of CSV makes of the text, and of the options. Raises BadTable, and
        ArrowInvalid for a value that is not of the type that the options say."""
        return _arrow_read(self.text, self.delimiter, reader, read, convert)

    def _parse(self) -> Any:
        first = self.parse(pa.csv.read_csv, {}, {})
        # A time of day has no type of its own here; as text it stays the way it was written.
        times = {f.name: pa.string() for f in first.schema if pa.types.is_time(f.type)}
        unique = len(set(first.column_names)) == len(first.column_names)
        if not times or not unique:
            return first
        return self.parse(pa.csv.read_csv, {}, {"column_types": times})


def open_delimited(content: Content, *, tabs: bool, max_columns: int, max_cells: int) -> Delimited:
    """Finds out how the table is written. `tabs` says that the file's name speaks of tabs. Raises
    BadTable."""
    text = Text(content, find_encoding(content))
    head = text.head(HEADER_BYTES)
    sample = sample_of(head)
    delimiter = find_delimiter(sample, tabs)
    check_header(head, delimiter, max_columns)
    size = checked_size(text, delimiter, max_cells)
    if size <= _MOST_TO_WALK and text.count(b'"') % 2 and _ends_in_quotes(text, delimiter):
        raise _open_quote(text, delimiter)
    return Delimited(text, delimiter, is_spaced(sample, delimiter), max_columns, size)


def no_rows(columns: int) -> BadTable:
    """The error of a table that is a header alone."""
    return BadTable(f"has a header with {columns} columns and no rows below it")


def _arrow_read(
    text: Text,
    delimiter: str,
    reader: Callable[..., Any],
    read: ReadOptions,
    convert: ConvertOptions,
) -> Any:
    ragged: list[Any] = []

    def note(row: Any) -> str:
        ragged.append(row)
        return "error"

    for block in _BLOCK_BYTES:
        try:
            with text.opened() as stream:
                return reader(
                    stream,
                    read_options=pa.csv.ReadOptions(block_size=block, **read),
                    parse_options=pa.csv.ParseOptions(
                        delimiter=delimiter, newlines_in_values=True, invalid_row_handler=note
                    ),
                    convert_options=pa.csv.ConvertOptions(
                        **MEANINGS,
                        **convert,
                    ),
                )
        except pa.ArrowInvalid as error:
            if ragged:
                raise _ragged(text, delimiter, ragged[0]) from error
            if is_wrong_value(error):
                raise
            if "straddl" not in str(error):
                if text.count(b'"') % 2:
                    raise _open_quote(text, delimiter) from error
                raise BadTable(f"cannot be read as delimited text: {error}") from error
    if text.count(b'"') % 2:
        raise _open_quote(text, delimiter)
    raise BadTable(f"has a row of more than {_BLOCK_BYTES[-1]:,} bytes; is it a table?")


def is_wrong_value(error: pa.ArrowInvalid) -> bool:
    """Whether Arrow says that a value is not of the type of its column."""
    return "invalid value" in str(error)


def _ragged(text: Text, delimiter: str, row: Any) -> BadTable:
    expected, found, where = row.expected_columns, row.actual_columns, "a row"
    for line, fields in _numbered(text, delimiter):
        if fields and len(fields) != expected:
            where, found = f"line {line}", len(fields)
            break
    unclosed = "; a quote in it may not be closed" if text.count(b'"') % 2 else ""
    return BadTable(
        f"has {_count(found)} in {where} where the header has {expected} (the delimiter is the "
        f"{DELIMITER_NAMES[delimiter]}); quote values that contain it, or mend the row{unclosed}"
    )


def _open_quote(text: Text, delimiter: str) -> BadTable:
    line = 1
    for line, _ in _numbered(text, delimiter):  # noqa: B007 - the last one is wanted
        pass
    return BadTable(f'has a quote (") in the row that begins in line {line} and is never closed')


def _count(fields: int) -> str:
    return "1 field" if fields == 1 else f"{fields} fields"


def _ends_in_quotes(text: Text, delimiter: str) -> bool:
    with _lines(text) as lines:
        try:
            for _ in csv.reader(lines, delimiter=delimiter, strict=True):
                pass
        except csv.Error as error:
            return "unexpected end of data" in str(error)
    return False


@contextmanager
def _lines(text: Text) -> Iterator[Iterator[str]]:
    with Utf8Stream(text.content, text.encoding) as raw:
        file = io.TextIOWrapper(io.BufferedReader(raw), encoding="utf-8", newline="")
        # A line may be as long as the file, and need not be in memory as a whole.
        yield iter(partial(file.readline, _LONGEST_LINE_CHARS), "")


def _numbered(text: Text, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    with _lines(text) as lines:
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
