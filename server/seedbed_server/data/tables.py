"""Table files: CSV and TSV, Parquet, Arrow/Feather, JSON and JSON Lines, and what plugins read."""

from __future__ import annotations

from collections.abc import Container
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile

import pandas as pd
import pyarrow as pa

from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.readers import Reader
from seedbed_server.data.columnar import arrow_columns, finished, read_arrow, read_parquet
from seedbed_server.data.content import PACKINGS, Content
from seedbed_server.data.delimited import open_delimited
from seedbed_server.data.delimited_stream import write_arrow
from seedbed_server.data.frames import BYTES_PER_CELL, BadTable, to_frame
from seedbed_server.data.json_tables import read_json, read_json_lines, write_json_lines
from seedbed_server.data.large_tables import (
    KEPT_AS,
    Columns,
    is_large,
    kept,
    key_of_bytes,
    key_of_file,
)
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
# How many times as large as in the file the objects of JSON are in memory, roughly.
JSON_GROWS = 8
_WORKBOOKS = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers")
PICKLES = (".pkl", ".pickle", ".joblib", ".p", ".dill", ".pt", ".pth", ".npy", ".npz")

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
    and by a `.gz` or `.zst` behind that of a text format that it is packed. One that is larger than
    the policy's memory limit is read once into files, which the frame's values then lie in.

    The frame's rows are numbered from 0 and its columns are text without spaces around. Its
    attribute `read_as` says of delimited text what its `delimiter` and `encoding` are. Raises
    InvalidArgument with `field`, naming the file: unknown or refused format, empty, no rows, ragged
    rows, columns of the same name, more columns or bytes than the policy allows, of mixed or no
    known encoding, binary, truncated.
    """
    try:
        key = key_of_bytes(source) if isinstance(source, bytes) else key_of_file(source)
        key = f"{key} {name}"
        frame = _read(Content(source, name, policy), key)
    except BadTable as error:
        raise InvalidArgument(field, f"{name} {error}", reason="BAD_TABLE") from error
    except OSError as error:
        why = error.strerror or error
        raise InvalidArgument(field, f"{name} cannot be read: {why}", reason="BAD_TABLE") from error
    frame.attrs[KEPT_AS] = key
    return frame


def _read(content: Content, key: str) -> pd.DataFrame:
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
    if format_name == "delimited":
        return _read_delimited(content, key, tabs=suffix in (".tsv", ".tab"))
    if format_name == "parquet":
        return read_parquet(content.source, policy, key)
    if format_name == "arrow":
        return read_arrow(content.source, policy, key)
    if format_name == "jsonl":
        return _read_json_lines(content, key)
    # The others are held in memory as a whole.
    most = policy.max_held_table_bytes
    if size > most:
        raise BadTable(
            f"has {size:,} bytes; of this format tables of at most {most:,} are read; save it as "
            "Parquet, CSV or JSON Lines"
        )
    content = replace(content, policy=replace(policy, max_table_bytes=most))
    if format_name == "json":
        return read_json(content)
    assert reader is not None
    return _read_with(reader, content)


def _read_delimited(content: Content, key: str, *, tabs: bool) -> pd.DataFrame:
    policy = content.policy
    table = open_delimited(
        content,
        tabs=tabs,
        max_columns=policy.max_columns,
        # A file may grow to twice the size it may have.
        max_cells=2 * policy.max_table_bytes // BYTES_PER_CELL,
    )

    def columns(folder: Path) -> Columns:
        target = folder / "rows.arrow"
        names = write_arrow(table, target)
        for name, column in arrow_columns(target):
            tidied = table.tidied(pa.table({name: column}))
            yield names[int(name)], to_frame(tidied)[name]

    frame = kept(policy, key, columns) if is_large(table.size, policy) else table.read()
    frame.attrs["read_as"] = table.read_as
    return frame


def _read_json_lines(content: Content, key: str) -> pd.DataFrame:
    size = sum(map(len, content.pieces())) if content.packing else content.stored_bytes

    def columns(folder: Path) -> Columns:
        target = folder / "rows.arrow"
        write_json_lines(content, target)
        for name, column in arrow_columns(target):
            yield name, to_frame(pa.table({name: column}))[name]

    if content.policy.prepared is not None and is_large(JSON_GROWS * size, content.policy):
        return kept(content.policy, key, columns)
    return read_json_lines(content)


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
    return finished(to_frame(pa.Table.from_pandas(frame, preserve_index=False)))
