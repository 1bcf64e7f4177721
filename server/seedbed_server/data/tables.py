"""Table files: CSV and TSV, Parquet, Arrow/Feather and JSON Lines."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet

from seedbed_sdk.errors import InvalidArgument
from seedbed_server.data.delimited import decode, read_delimited
from seedbed_server.data.frames import BadTable, check_columns, to_frame
from seedbed_server.data.references import Policy

FORMATS = {
    ".csv": "delimited",
    ".tsv": "delimited",
    ".tab": "delimited",
    ".txt": "delimited",
    ".data": "delimited",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
PICKLES = (".pkl", ".pickle", ".joblib", ".p", ".dill", ".pt", ".pth", ".npy", ".npz")

_BYTES_PER_CELL = 8
_INDEX = r"^__index_level_\d+__$"
_PICKLE_STARTS = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))


def is_table(name: str) -> bool:
    """Whether a file's ending is that of a table."""
    return PurePosixPath(name.lower()).suffix in FORMATS


def read_table(source: Path | bytes, *, name: str, field: str, policy: Policy) -> pd.DataFrame:
    """Reads a table file, given as its path or its contents; `name` says the format by its ending.

    The frame's rows are numbered from 0 and its columns are text without spaces around. Raises
    InvalidArgument with `field`, naming the file: unknown or refused format, empty, no rows, ragged
    rows, columns of the same name, more columns or bytes than the policy allows, not UTF-8, binary,
    truncated.
    """
    try:
        return _read(source, name, policy)
    except BadTable as error:
        raise InvalidArgument(field, f"{name} {error}", reason="BAD_TABLE") from error
    except OSError as error:
        why = error.strerror or error
        raise InvalidArgument(field, f"{name} cannot be read: {why}", reason="BAD_TABLE") from error


def _read(source: Path | bytes, name: str, policy: Policy) -> pd.DataFrame:
    suffix = PurePosixPath(name.lower()).suffix
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    head = source[:8] if isinstance(source, bytes) else _head(source)
    if suffix in PICKLES or head.startswith(_PICKLE_STARTS):
        raise BadTable(
            "is a pickle, NumPy or PyTorch file, and those are never read, since they can run "
            "code; save it as Parquet or CSV"
        )
    format_name = FORMATS.get(suffix)
    if format_name is None:
        raise BadTable(
            f"has the ending {suffix!r}, which is no known format of data; tables end in "
            f"{', '.join(FORMATS)}, archives in .zip or .tar (also .gz, .bz2, .xz), and pictures "
            "come in a folder or archive"
        )
    if size == 0:
        raise BadTable("is empty (0 bytes)")
    if size > policy.max_table_bytes:
        raise BadTable(f"has {size:,} bytes; tables of at most {policy.max_table_bytes:,} are read")
    if format_name == "parquet":
        return _read_parquet(source, policy)
    if format_name == "arrow":
        return _read_arrow(source, policy)
    data = source if isinstance(source, bytes) else source.read_bytes()
    if not data.strip():
        raise BadTable(f"is empty ({size} bytes of blanks)")
    if format_name == "jsonl":
        return _read_json_lines(data, policy)
    return read_delimited(
        data,
        tabs=suffix in (".tsv", ".tab"),
        max_columns=policy.max_columns,
        # A file may grow to twice the size it may have.
        max_cells=2 * policy.max_table_bytes // _BYTES_PER_CELL,
    )


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)


def _opened(source: Path | bytes) -> Any:
    return pa.BufferReader(source) if isinstance(source, bytes) else pa.memory_map(str(source))


def _read_parquet(source: Path | bytes, policy: Policy) -> pd.DataFrame:
    try:
        with _opened(source) as opened:
            file = pa.parquet.ParquetFile(opened)
            schema = file.schema_arrow
            _check_shape(schema, file.metadata.num_rows, policy)
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
            _check_bytes(sum(group.total_byte_size for group in groups), policy)
            # Repeated text is stored once; as a dictionary it stays so until its size is known.
            texts = [f.name for f in schema if _is_text(f.type)]
            file = pa.parquet.ParquetFile(
                opened, read_dictionary=texts, page_checksum_verification=True
            )
            return _finish(_unfold(file.read(), schema, policy))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(error, "Parquet") from error


def _read_arrow(source: Path | bytes, policy: Policy) -> pd.DataFrame:
    try:
        with _opened(source) as opened:
            try:
                file = pa.ipc.open_file(opened)
                batches = map(file.get_batch, range(file.num_record_batches))
            except pa.ArrowInvalid:
                opened.seek(0)
                file = pa.ipc.open_stream(opened)
                batches = iter(file)
            _check_shape(file.schema, 0, policy)
            held: list[Any] = []
            rows = size = 0
            for batch in batches:
                batch.validate(full=True)
                held.append(batch)
                rows += batch.num_rows
                size += batch.nbytes
                _check_shape(file.schema, rows, policy)
                _check_bytes(size, policy)
            return _finish(pa.Table.from_batches(held, file.schema))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(error, "Arrow") from error


def _damaged(error: Exception, format_name: str) -> BadTable:
    text = str(error).split("\n")[0][:300]
    return BadTable(f"cannot be read as {format_name} ({text}); is it complete?")


def _check_shape(schema: Any, rows: int, policy: Policy) -> None:
    check_columns([str(name).strip() for name in schema.names], policy.max_columns)
    _check_bytes(rows * len(schema.names) * _BYTES_PER_CELL, policy)


def _check_bytes(size: int, policy: Policy) -> None:
    if size > policy.max_table_bytes:
        raise BadTable(
            f"unpacks to about {size:,} bytes; tables of at most {policy.max_table_bytes:,} "
            "are read"
        )


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _unfold(table: Any, schema: Any, policy: Policy) -> Any:
    """Text columns from their dictionaries, once it is known that they fit."""
    size = 0
    for i, field in enumerate(schema):
        column = table.column(i)
        if not (_is_text(field.type) and pa.types.is_dictionary(column.type)):
            continue
        for chunk in column.chunks:
            lengths = pc.binary_length(chunk.dictionary).take(chunk.indices)
            size += pc.sum(lengths).as_py() or 0
        _check_bytes(size, policy)
        table = table.set_column(i, field, pc.cast(column, field.type))
    return table


def _finish(table: Any) -> pd.DataFrame:
    if not table.num_rows:
        raise BadTable(f"has {table.num_columns} columns and no rows")
    frame = to_frame(table)
    frame = frame.loc[:, ~frame.columns.astype(str).str.match(_INDEX)]
    frame.columns = pd.Index([str(name).strip() for name in frame.columns])
    if not len(frame.columns):
        raise BadTable("has no columns")
    return frame


def _read_json_lines(data: bytes, policy: Policy) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    names: dict[str, None] = {}
    for number, line in enumerate(decode(data).split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if b"\\ud" in line.lower():
                json.dumps(row, ensure_ascii=False).encode()  # half a surrogate pair is no text
        except (ValueError, RecursionError) as error:
            raise BadTable(f"has no valid JSON in line {number}: {error}") from error
        if not isinstance(row, dict):
            raise BadTable(
                f"has JSON of type {type(row).__name__} in line {number}; every line must be an "
                'object such as {"column": 1}'
            )
        names.update(dict.fromkeys(row))
        if len(names) > policy.max_columns:
            check_columns(list(names), policy.max_columns)
        rows.append(row)
        if len(rows) % 1000 == 0:
            _check_bytes(len(rows) * len(names) * _BYTES_PER_CELL, policy)
    check_columns([name.strip() for name in names], policy.max_columns)
    _check_bytes(len(rows) * len(names) * _BYTES_PER_CELL, policy)
    if not names:
        raise BadTable("has no columns: its objects are empty")
    frame = pd.DataFrame.from_records(rows, columns=list(names))
    frame.columns = pd.Index([name.strip() for name in names])
    return frame
