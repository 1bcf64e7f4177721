"""Parquet and Arrow files, which say their types themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet

from seedbed_sdk.mapped import map_file
from seedbed_server.data.frames import (
    BYTES_PER_CELL,
    BadTable,
    check_bytes,
    check_columns,
    clean_names,
    to_frame,
)
from seedbed_server.data.large_tables import Columns, is_large, kept
from seedbed_server.data.sources import Policy

_INDEX = r"^__index_level_\d+__$"


def read_parquet(source: Path | bytes, policy: Policy, key: str) -> pd.DataFrame:
    """The table of a Parquet file; one larger than memory is kept under the key. Raises
    BadTable."""
    try:
        opened = _opened(source)
        file = pa.parquet.ParquetFile(opened)
        schema, rows = file.schema_arrow, file.metadata.num_rows
        _check_shape(schema, rows, policy)
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        size = sum(group.total_byte_size for group in groups)
        check_bytes(size, policy.max_table_bytes)
        # Repeated text is stored once; as a dictionary it stays so until its size is known.
        texts = [f.name for f in schema if _is_text(f.type)]
        file = pa.parquet.ParquetFile(
            opened, read_dictionary=texts, page_checksum_verification=True
        )

        def columns(folder: Path) -> Columns:  # noqa: ARG001
            for field in schema:
                column = _unfolded(file.read(columns=[field.name]), schema, policy)
                yield field.name, to_frame(column)[field.name]

        size = max(size, rows * len(schema.names) * BYTES_PER_CELL)
        if not is_large(size, policy):
            table = file.read()
            # Text may be many times as large as it is stored.
            if not is_large(size + _text_bytes(table, schema), policy):
                return finished(to_frame(_unfolded(table, schema, policy)))
            del table
        return finished(kept(policy, key, columns))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(error, "Parquet") from error


def read_arrow(source: Path | bytes, policy: Policy, key: str) -> pd.DataFrame:
    """The table of an Arrow file or stream; one larger than memory is kept under the key. Raises
    BadTable."""
    try:
        schema, batches = _batches(_opened(source))
        _check_shape(schema, 0, policy)
        held: list[Any] = []
        rows = size = 0
        for batch in batches:
            rows += batch.num_rows
            size += batch.nbytes
            _check_shape(schema, rows, policy)
            check_bytes(size, policy.max_table_bytes)
            if is_large(size, policy):
                held.clear()
                return finished(kept(policy, key, lambda _: _checked_columns(source, policy)))
            batch.validate(full=True)
            held.append(batch)
        return finished(to_frame(pa.Table.from_batches(held, schema)))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(error, "Arrow") from error


def arrow_columns(source: Path | bytes) -> Iterator[tuple[str, Any]]:
    """The columns of an Arrow file or stream, one after the other, as chunked arrays."""
    schema, _ = _batches(_opened(source))
    for i, field in enumerate(schema):
        # Not by Arrow's option for that, which copies all of a file that is mapped.
        _, batches = _batches(_opened(source))
        yield field.name, pa.chunked_array([batch.column(i) for batch in batches], field.type)


def finished(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame without what pandas wrote of an index, and names without spaces around. Raises
    BadTable where nothing is left."""
    if not len(frame):
        raise BadTable(f"has {len(frame.columns)} columns and no rows")
    frame = frame.loc[:, ~frame.columns.astype(str).str.match(_INDEX)]
    frame.columns = pd.Index(clean_names(list(frame.columns), len(frame.columns)))
    if not len(frame.columns):
        raise BadTable("has no columns")
    return frame


def _checked_columns(source: Path | bytes, policy: Policy) -> Columns:
    rows = 0
    for name, column in arrow_columns(source):
        column.validate(full=True)
        rows = max(rows, len(column))
        check_bytes(rows * BYTES_PER_CELL, policy.max_table_bytes)
        yield name, to_frame(pa.table({name: column}))[name]


def _opened(source: Path | bytes) -> Any:
    return pa.BufferReader(source if isinstance(source, bytes) else pa.py_buffer(map_file(source)))


def _batches(opened: Any) -> tuple[Any, Iterator[Any]]:
    """The schema of a file or stream and its batches."""
    try:
        file = pa.ipc.open_file(opened)
    except pa.ArrowInvalid:
        opened.seek(0)
        stream = pa.ipc.open_stream(opened)
        return stream.schema, iter(stream)
    return file.schema, map(file.get_batch, range(file.num_record_batches))


def _damaged(error: Exception, format_name: str) -> BadTable:
    text = str(error).split("\n")[0][:300]
    return BadTable(f"cannot be read as {format_name} ({text}); is it complete?")


def _check_shape(schema: Any, rows: int, policy: Policy) -> None:
    check_columns([str(name).strip() for name in schema.names], policy.max_columns)
    check_bytes(rows * len(schema.names) * BYTES_PER_CELL, policy.max_table_bytes)


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _text_bytes(table: Any, schema: Any) -> int:
    """What the text takes that a table holds as dictionaries, where `schema` has it as text."""
    return sum(
        pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0
        for name in table.column_names
        if _is_folded(table, schema, name)
        for chunk in table.column(name).chunks
    )


def _is_folded(table: Any, schema: Any, name: str) -> bool:
    kind = table.schema.field(name).type
    return _is_text(schema.field(name).type) and bool(pa.types.is_dictionary(kind))


def _unfolded(table: Any, schema: Any, policy: Policy) -> Any:
    """The table with text columns from their dictionaries, once it is known that they fit."""
    check_bytes(_text_bytes(table, schema), policy.max_table_bytes)
    for i, name in enumerate(table.column_names):
        if _is_folded(table, schema, name):
            field = schema.field(name)
            table = table.set_column(i, field, pc.cast(table.column(i), field.type))
    return table
