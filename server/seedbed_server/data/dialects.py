"""How a delimited text is written: its delimiter, its header, and how large it is."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from seedbed_server.data.content import Content
from seedbed_server.data.encodings import Encoding, Utf8Stream, utf8_pieces
from seedbed_server.data.frames import BYTES_PER_CELL, BadTable

DELIMITERS = (",", ";", "\t", "|")
DELIMITER_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
HEADER_BYTES = 8 * 2**20

_SAMPLE_CHARS = 65_536
_SAMPLE_ROWS = 50


@dataclass(frozen=True, slots=True)
class Text:
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


def sample_of(head: bytes) -> str:
    """The first lines, without one that is cut off."""
    sample = head[:_SAMPLE_CHARS]
    if len(sample) < len(head):
        sample = sample[: max(sample.rfind(b"\n"), sample.rfind(b"\r")) + 1] or sample
    return sample.decode("utf-8", errors="ignore")


def find_delimiter(head: str, tabs: bool) -> str:
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


def is_spaced(head: str, delimiter: str) -> bool:
    rows = _rows(head, delimiter)[1:]
    fields = [field for row in rows for field in row[1:]]
    return bool(fields) and all(field.startswith(" ") for field in fields)


def check_header(head: bytes, delimiter: str, max_columns: int) -> None:
    record = _first_record(head)
    if len(record) >= HEADER_BYTES:
        raise BadTable(
            f"has no line break in its first {HEADER_BYTES:,} bytes; a table has a line with the "
            "names of its columns, and one for each row"
        )
    columns = re.sub(rb'"[^"]*"', b"", record).count(delimiter.encode()) + 1
    if columns > max_columns:
        raise BadTable(f"has {columns:,} columns; at most {max_columns:,} are read")


def checked_size(text: Text, delimiter: str, max_cells: int) -> int:
    cells = blanks = size = 0
    for piece in text.pieces():
        cells += piece.count(delimiter.encode()) + piece.count(b"\n") + piece.count(b"\r")
        size += len(piece)
        blanks += piece.isspace() and len(piece)
        if cells > max_cells:
            raise BadTable(f"has more than {max_cells:,} values, which are the most that are read")
    if blanks == size:
        raise BadTable(f"is empty ({size} bytes of blanks)")
    return max(size, cells * BYTES_PER_CELL)


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


def _first_record(text: bytes) -> bytes:
    """The header, which ends at the first line break outside quotes."""
    quotes = start = 0
    for match in re.finditer(rb"[\r\n]", text):
        quotes += text.count(b'"', start, match.start())
        start = match.end()
        if quotes % 2 == 0 and match.start() > 0:
            return text[: match.start()]
    return text
