"""Delimited text that is larger than memory, as an Arrow file."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc

from seedbed_server.data.delimited import MEANINGS, Delimited, is_wrong_value, no_rows
from seedbed_server.data.frames import BadTable, clean_names

# After so many types that turned out wrong, the next ones become text at once.
_LOOSENED_ONE_BY_ONE = 8
_WRONG = re.compile(
    r"In CSV column #(\d+):.*conversion error to [^:]+: invalid value '(.*)'", re.DOTALL
)


def write_arrow(table: Delimited, target: Path) -> list[str]:
    """Writes the table, before it is tidied, to an Arrow file with a block of rows in memory at a
    time; the names of its columns. The types are those that reading it in one go finds: where a
    value is not of the type of those before it, this starts again with a wider one.

    Raises BadTable.
    """
    header = table.parse(lambda *args, **options: _schema_of(*args, **options).names, {}, {})
    names = clean_names(header, table.max_columns)
    places = [str(place) for place in range(len(names))]
    # By their places, since names may come twice here.
    read = {"column_names": places, "skip_rows_after_names": 1}
    types: dict[str, Any] = {}
    first = table.parse(_schema_of, read, {})
    types.update({f.name: pa.string() for f in first if pa.types.is_time(f.type)})
    while True:
        seen: dict[str, Any] = {}
        try:
            rows = table.parse(_writer(target, seen), read, {"column_types": types})
        except pa.ArrowInvalid as error:
            if not is_wrong_value(error):
                raise
            found = _WRONG.search(str(error))
            if found is None or pa.types.is_string(seen[found[1]]):
                raise BadTable(f"cannot be read as delimited text: {error}") from error
            one_by_one = len(types) < _LOOSENED_ONE_BY_ONE
            types[found[1]] = _wider(seen[found[1]], found[2]) if one_by_one else pa.string()
            continue
        if not rows:
            raise no_rows(len(names))
        return names


def _schema_of(stream: Any, **options: Any) -> Any:
    with pa.csv.open_csv(stream, **options) as reader:
        return reader.schema


def _writer(target: Path, seen: dict[str, Any]) -> Callable[..., int]:
    """Writes what Arrow reads; how many rows. `seen` gets the types of the columns."""

    def write(stream: Any, **options: Any) -> int:
        rows = 0
        with pa.csv.open_csv(stream, **options) as reader:
            seen.update({field.name: field.type for field in reader.schema})
            with pa.ipc.new_file(str(target), reader.schema) as writer:
                for batch in reader:
                    rows += batch.num_rows
                    writer.write_batch(batch)
        return rows

    return write


def _wider(kind: Any, value: str) -> Any:
    """The type for a column of the values so far and this one."""
    other = _type_of(value)
    if pa.types.is_null(kind):
        return other
    if pa.types.is_integer(kind) and pa.types.is_floating(other):
        return other
    dates = pa.types.is_date(kind) or pa.types.is_timestamp(kind)
    if dates and pa.types.is_timestamp(other) and getattr(kind, "tz", None) in (None, other.tz):
        return other
    return pa.string()


def _type_of(value: str) -> Any:
    """The type that Arrow takes a value for; times of day are text."""
    written = io.StringIO(newline="")
    csv.writer(written, quoting=csv.QUOTE_ALL).writerows([["value"], [value]])
    table = pa.csv.read_csv(
        io.BytesIO(written.getvalue().encode()),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(**MEANINGS),
    )
    kind = table.schema.field(0).type
    return pa.string() if pa.types.is_time(kind) else kind
