"""Tables larger than memory: a file for each column, which is mapped rather than read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc

from seedbed_sdk.mapped import map_array, map_file, release_maps
from seedbed_server.data.frames import check_bytes
from seedbed_server.data.sources import Policy
from seedbed_server.store import PreparedStore

COLUMNS = "columns.json"
ROWS_AT_ONCE = 1_000_000
KEPT_AS = "kept_as"
"""The attribute of a frame that says which data it holds, so that what it goes into can be kept."""

Columns = Iterable[tuple[str, pd.Series]]

# What numpy maps as it is; other columns are Arrow's.
_FIXED_WIDTH = "biufM"


def size_of(frame: pd.DataFrame) -> int:
    """The bytes of a frame's values; of objects, those of the references to them."""
    return int(frame.memory_usage(index=False).sum())


def is_large(size: int, policy: Policy) -> bool:
    """Whether a table of so many bytes is to stay in files. Raises BadTable where it is too large
    to be held in memory and there is no place for files."""
    if size <= policy.memory_limit_bytes:
        return False
    if policy.prepared is None:
        check_bytes(size, policy.memory_limit_bytes)
    return True


def kept(policy: Policy, key: str, columns: Callable[[Path], Columns]) -> pd.DataFrame:
    """The table that is kept under the key, as a frame whose values lie in files; rows are numbered
    from 0.

    Where nothing is kept, `columns` is called with a folder for files of its own, which go when it
    is done, and has one column in memory at a time. Raises what it raises, and ResourceExhausted
    where the disk is full.
    """
    assert policy.prepared is not None

    def write(folder: Path) -> None:
        names: list[str] = []
        for name, column in columns(folder):
            _write(folder, len(names), column)
            names.append(name)
            release_maps()
        for path in folder.iterdir():
            if not _is_column(path):
                path.unlink()
        (folder / COLUMNS).write_text(json.dumps(names))

    store = _store(policy.prepared, policy.prepared_limit_bytes)
    folder = store.folder(_named(key), write)
    assert folder is not None
    names = json.loads((folder / COLUMNS).read_text())
    frame = pd.DataFrame({i: _open(folder, i) for i in range(len(names))}, copy=False)
    frame.columns = pd.Index(names)
    frame.attrs[KEPT_AS] = key
    return frame


def put_below(frames: list[pd.DataFrame], policy: Policy) -> pd.DataFrame:
    """The rows of all frames, which have the same columns, as one: in memory where they fit, else
    in files."""
    keys = [frame.attrs.get(KEPT_AS) for frame in frames]
    fits = sum(map(size_of, frames)) <= policy.memory_limit_bytes
    if fits or policy.prepared is None or None in keys:
        return pd.concat(frames, ignore_index=True)

    def columns(folder: Path) -> Iterator[tuple[str, pd.Series]]:  # noqa: ARG001
        for name in frames[0].columns:
            yield name, pd.concat([frame[name] for frame in frames], ignore_index=True)

    return kept(policy, json.dumps(keys), columns)


def key_of_file(path: Path) -> str:
    """What a file's contents are kept under: changes with them. Raises OSError."""
    found = path.stat()
    return f"{path} {found.st_size} {found.st_mtime_ns} {found.st_ino}"


def key_of_bytes(data: bytes) -> str:
    """What the contents of a file are kept under."""
    return hashlib.sha256(data).hexdigest()


@cache
def _store(root: Path, limit_bytes: int) -> PreparedStore:
    # Holds what it gave out until the process ends, as the frames may be in use until then.
    return PreparedStore(root, limit_bytes)


def _named(key: str) -> str:
    return json.dumps(["table", version("seedbed"), key])


def _path(folder: Path, index: int, suffix: str) -> Path:
    return folder / f"{index}{suffix}"


def _is_column(path: Path) -> bool:
    return path.stem.isdigit()


def _write(folder: Path, index: int, column: pd.Series) -> None:
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in _FIXED_WIDTH:
        np.save(_path(folder, index, ".npy"), column.to_numpy(), allow_pickle=False)
        return
    values = _as_arrow(column)
    with pa.ipc.new_file(str(_path(folder, index, ".arrow")), _schema(values.type)) as writer:
        table = pa.Table.from_arrays([values], schema=_schema(values.type))
        writer.write_table(table, max_chunksize=ROWS_AT_ONCE)


def _schema(kind: Any) -> Any:
    return pa.schema([("values", kind)])


def _as_arrow(column: pd.Series) -> Any:
    try:
        values = pa.array(column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        # Values of several types, as tables have that were put together.
        values = pa.array(column.astype("str"), from_pandas=True)
    return values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])


def _open(folder: Path, index: int) -> Any:
    path = _path(folder, index, ".npy")
    if path.exists():
        return np.asarray(map_array(path))
    mapped = pa.BufferReader(pa.py_buffer(map_file(_path(folder, index, ".arrow"))))
    # Text stays where it is; for other types pandas has no array that lies in a file.
    return pa.ipc.open_file(mapped).read_all().column(0).to_pandas(date_as_object=False)
