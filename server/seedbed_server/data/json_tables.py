"""Tables in JSON: a line or an element of a list for each row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from seedbed_server.data.arrow_parts import ArrowParts
from seedbed_server.data.content import Content
from seedbed_server.data.encodings import find_encoding, utf8_pieces
from seedbed_server.data.frames import (
    BYTES_PER_CELL,
    BadTable,
    check_bytes,
    check_columns,
    clean_names,
)
from seedbed_server.data.sources import Policy

_LONGEST_LINE_BYTES = 32 * 2**20
_ROWS_AT_ONCE = 10_000


def read_json_lines(content: Content) -> pd.DataFrame:
    """The table of a file with an object in every line that is not blank. Raises BadTable."""
    return _framed(_objects_in_lines(content), content.policy)


def write_json_lines(content: Content, target: Path) -> None:
    """Writes the table that `read_json_lines` reads to an Arrow file, with some rows in memory at a
    time. Values of several types in one column become text. Raises BadTable."""
    names: dict[str, None] = {}
    for row in _objects_in_lines(content):
        names.update(dict.fromkeys(row))
        if len(names) > content.policy.max_columns:
            check_columns(list(names), content.policy.max_columns)
    if not names:
        raise _no_columns()
    parts = ArrowParts(target, clean_names(list(names), content.policy.max_columns))
    objects = _objects_in_lines(content)
    while chunk := list(islice(objects, _ROWS_AT_ONCE)):
        parts.add([[row.get(name) for name in names] for row in chunk])
    parts.finish()


def read_json(content: Content) -> pd.DataFrame:
    """The table of a file that is a list of objects. Raises BadTable."""
    most = content.policy.max_item_bytes
    pieces: list[bytes] = []
    size = 0
    for piece in _pieces(content):
        size += len(piece)
        if size > most:
            raise BadTable(
                f"has more than {most:,} bytes, which are the most that are read of JSON in one "
                "piece; save it as JSON Lines (.jsonl) or Parquet"
            )
        pieces.append(piece)
    data = b"".join(pieces)
    if not data.strip():
        raise BadTable(f"is empty ({size} bytes of blanks)")
    rows = _parsed(data, "")
    if not isinstance(rows, list):
        raise BadTable(
            f"holds JSON of type {type(rows).__name__}; it must be a list of objects such as "
            '[{"column": 1}]'
        )
    return _framed(
        (_checked(row, "element", number) for number, row in enumerate(rows, 1)),
        content.policy,
    )


def _no_columns() -> BadTable:
    return BadTable("has no columns: its objects are empty")


def _objects_in_lines(content: Content) -> Iterator[Mapping[str, Any]]:
    blank = True
    size = 0
    for number, line in enumerate(_lines(_pieces(content)), 1):
        size += len(line) + 1
        if line.strip():
            blank = False
            yield _checked(_parsed(line, f" in line {number}"), "line", number)
    if blank:
        raise BadTable(f"is empty ({size - 1} bytes of blanks)")


def _pieces(content: Content) -> Iterator[bytes]:
    # JSON is UTF-8, or says otherwise by its first bytes; nothing is guessed.
    return utf8_pieces(content, find_encoding(content, guess=False))


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        first, *others = piece.split(b"\n")
        held.append(first)
        size += len(first)
        if size > _LONGEST_LINE_BYTES:
            raise BadTable(
                f"has a line of more than {_LONGEST_LINE_BYTES:,} bytes; write an object a line"
            )
        if others:
            yield b"".join(held)
            yield from others[:-1]
            held, size = [others[-1]], len(others[-1])
    yield b"".join(held)


def _parsed(data: bytes, where: str) -> Any:
    try:
        value = json.loads(data)
        if b"\\ud" in data.lower():
            json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise BadTable(f"has no valid JSON{where}: {error}") from error
    return value


def _checked(row: Any, noun: str, number: int) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise BadTable(
            f"has JSON of type {type(row).__name__} in {noun} {number}; every {noun} must be an "
            'object such as {"column": 1}'
        )
    return row


def _framed(objects: Iterable[Mapping[str, Any]], policy: Policy) -> pd.DataFrame:
    rows: list[Mapping[str, Any]] = []
    names: dict[str, None] = {}
    for row in objects:
        names.update(dict.fromkeys(row))
        if len(names) > policy.max_columns:
            check_columns(list(names), policy.max_columns)
        rows.append(row)
        if len(rows) % 1000 == 0:
            check_bytes(len(rows) * len(names) * BYTES_PER_CELL, policy.max_table_bytes)
    clean = clean_names(list(names), policy.max_columns)
    check_bytes(len(rows) * len(names) * BYTES_PER_CELL, policy.max_table_bytes)
    if not rows:
        raise BadTable("has no rows: its list is empty")
    if not names:
        raise _no_columns()
    frame = pd.DataFrame.from_records(rows, columns=list(names))
    frame.columns = pd.Index(clean)
    return frame
