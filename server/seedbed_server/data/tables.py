"""Table files: CSV and TSV, Parquet, Arrow/Feather, JSON and JSON Lines, and what plugins read."""

from __future__ import annotations

from collections.abc import Container
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet

from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.readers import Reader
from seedbed_server.data.content import PACKINGS, Content
from seedbed_server.data.delimited import read_delimited
from seedbed_server.data.frames import (
    BYTES_PER_CELL,
    BadTable,
    check_bytes,
    check_columns,
    to_frame,
)
from seedbed_server.data.json_tables import read_json, read_json_lines
from seedbed_server.data.sources import Policy

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
    ".json": "json",
}
# Text formats, which may be packed as a whole; the others are packed inside.
_PACKED = ("delimited", "jsonl", "json")
_WORKBOOKS = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers")
PICKLES = (".pkl", ".pickle", ".joblib", ".p", ".dill", ".pt", ".pth", ".npy", ".npz")

_INDEX = r"^__index_level_\d+__$"
_PICKLE_STARTS = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))


def is_table(name: str, readers: Container[str] = ()) -> bool:
    """Whether a file's ending is that of a table. `readers` are the endings that plugins read. A
    `.json` is one only where it is named as such: beside other files it describes them."""
    path = PurePosixPath(name.lower())
    packed = path.suffix in PACKINGS
    suffix = PurePosixPath(path.stem).suffix if packed else path.suffix
    format_name = FORMATS.get(suffix, "")
    if format_name:
        return suffix != ".json" and (not packed or format_name in _PACKED)
    return path.suffix in readers


def read_table(source: Path | bytes, *, name: str, field: str, policy: Policy) -> pd.DataFrame:
    """Reads a table file, given as its path or its contents; `name` says the format by its ending,
    and by a `.gz` or `.zst` behind that of a text format that it is packed.

    The frame's rows are numbered from 0 and its columns are text without spaces around. Raises
    InvalidArgument with `field`, naming the file: unknown or refused format, empty, no rows, ragged
    rows, columns of the same name, more columns or bytes than the policy allows, of mixed or no
    known encoding, binary, truncated.
    """
    try:
        return _read(Content(source, name, policy))
    except BadTable as error:
        raise InvalidArgument(field, f"{name} {error}", reason="BAD_TABLE") from error
    except OSError as error:
        why = error.strerror or error
        raise InvalidArgument(field, f"{name} cannot be read: {why}", reason="BAD_TABLE") from error


def _read(content: Content) -> pd.DataFrame:
    policy = content.policy
    suffix = PurePosixPath(content.inner_name.lower()).suffix
    size = content.stored_bytes
    # Only what may be packed is unpacked to see how it begins.
    packable = FORMATS.get(suffix) in _PACKED
    head = content.head(8) if packable else _stored_head(content)
    if suffix in PICKLES or head.startswith(_PICKLE_STARTS):
        raise BadTable(
            "is a pickle, NumPy or PyTorch file, and those are never read, since they can run "
            "code; save it as Parquet or CSV"
        )
    if suffix in _WORKBOOKS:
        raise BadTable(
            "is a workbook of a spreadsheet program, and those are not read; save the sheet as CSV "
            "(File, Save As) or Parquet"
        )
    format_name = FORMATS.get(suffix)
    reader = policy.readers.get(PurePosixPath(content.name.lower()).suffix)
    if format_name is None and reader is None:
        raise BadTable(
            f"has the ending {suffix!r}, which is no known format of data; tables end in "
            f"{', '.join(FORMATS)}, archives in .zip or .tar (also .gz, .bz2, .xz), and pictures "
            "come in a folder or archive"
        )
    if content.packing and format_name and not packable:
        raise BadTable(f"is a {suffix} file that was packed once more; unpack it")
    if size == 0:
        raise BadTable("is empty (0 bytes)")
    if size > policy.max_table_bytes:
        raise BadTable(f"has {size:,} bytes; tables of at most {policy.max_table_bytes:,} are read")
    if format_name is None:
        assert reader is not None
        return _read_with(reader, content)
    if format_name == "parquet":
        return _read_parquet(content.source, policy)
    if format_name == "arrow":
        return _read_arrow(content.source, policy)
    if format_name == "jsonl":
        return read_json_lines(content)
    if format_name == "json":
        return read_json(content)
    return read_delimited(
        content,
        tabs=suffix in (".tsv", ".tab"),
        max_columns=policy.max_columns,
        # A file may grow to twice the size it may have.
        max_cells=2 * policy.max_table_bytes // BYTES_PER_CELL,
    )


def _stored_head(content: Content) -> bytes:
    source = content.source
    if isinstance(source, bytes):
        return source[:8]
    with source.open("rb") as file:
        return file.read(8)


def _read_with(reader: Reader, content: Content) -> pd.DataFrame:
    """What a plugin reads of a file, which it is given by its path."""
    with ExitStack() as stack:
        path = content.source
        if isinstance(path, bytes):
            ending = PurePosixPath(content.name.lower()).suffix
            file = stack.enter_context(NamedTemporaryFile(suffix=ending))
            file.write(path)
            file.flush()
            path = Path(file.name)
        try:
            frame = reader.read(str(path))
        except Exception as error:
            why = str(error) or type(error).__name__
            raise BadTable(f"cannot be read by its plugin: {why}") from error
    return _finish(pa.Table.from_pandas(frame, preserve_index=False))


def _opened(source: Path | bytes) -> Any:
    return pa.BufferReader(source) if isinstance(source, bytes) else pa.memory_map(str(source))


def _read_parquet(source: Path | bytes, policy: Policy) -> pd.DataFrame:
    try:
        with _opened(source) as opened:
            file = pa.parquet.ParquetFile(opened)
            schema = file.schema_arrow
            _check_shape(schema, file.metadata.num_rows, policy)
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
            check_bytes(sum(group.total_byte_size for group in groups), policy.max_table_bytes)
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
                check_bytes(size, policy.max_table_bytes)
            return _finish(pa.Table.from_batches(held, file.schema))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(error, "Arrow") from error


def _damaged(error: Exception, format_name: str) -> BadTable:
    text = str(error).split("\n")[0][:300]
    return BadTable(f"cannot be read as {format_name} ({text}); is it complete?")


def _check_shape(schema: Any, rows: int, policy: Policy) -> None:
    check_columns([str(name).strip() for name in schema.names], policy.max_columns)
    check_bytes(rows * len(schema.names) * BYTES_PER_CELL, policy.max_table_bytes)


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
        check_bytes(size, policy.max_table_bytes)
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
