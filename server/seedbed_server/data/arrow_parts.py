"""Arrow files out of rows whose types are known only at the end."""

from __future__ import annotations

import decimal
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc


class ArrowParts:
    """An Arrow file out of chunks of rows whose types are known only at the end: chunks are written
    to a file as long as their types stay, and the files are put into one."""

    def __init__(self, target: Path, names: Sequence[str]) -> None:
        self._target = target
        self._names = list(names)
        self._paths: list[Path] = []
        self._schema: Any = None
        self._writer: Any = None

    def add(self, rows: Sequence[Sequence[Any]]) -> int:
        """Writes rows; their size in bytes."""
        columns = [_column(values) for values in zip(*rows, strict=True)]
        batch = pa.RecordBatch.from_arrays(columns, names=self._names)
        if self._writer is None or batch.schema != self._schema:
            self._close()
            self._schema = batch.schema
            self._paths.append(self._target.with_name(f"part-{len(self._paths)}.arrow"))
            self._writer = pa.ipc.new_file(str(self._paths[-1]), batch.schema)
        self._writer.write_batch(batch)
        return int(batch.nbytes)

    def finish(self) -> None:
        """Writes the whole file."""
        self._close()
        if len(self._paths) == 1:
            self._paths[0].rename(self._target)
            return
        if not self._paths:
            empty = pa.schema([(name, pa.null()) for name in self._names])
            pa.ipc.new_file(str(self._target), empty).close()
            return
        schemas = [pa.ipc.open_file(pa.memory_map(str(p))).schema for p in self._paths]
        kinds = [_common([s.field(i).type for s in schemas]) for i in range(len(self._names))]
        schema = pa.schema(list(zip(self._names, kinds, strict=True)))
        with pa.ipc.new_file(str(self._target), schema) as writer:
            for path in self._paths:
                with pa.memory_map(str(path)) as mapped:
                    file = pa.ipc.open_file(mapped)
                    for i in range(file.num_record_batches):
                        batch = file.get_batch(i)
                        columns = [_cast(batch.column(c), k) for c, k in enumerate(schema.types)]
                        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
                path.unlink()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _column(values: Sequence[Any]) -> Any:
    """The values with the one type that they have, or as text where they have several."""
    plain = [_plain(v) for v in values]
    try:
        return pa.array(plain)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([_text(v) for v in plain])


def _plain(value: Any) -> Any:
    """Without the types that tables do not have, also inside of lists and documents."""
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value


def _text(value: Any) -> str | None:
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return None if value is None else str(value)


def _cast(column: Any, kind: Any) -> Any:
    if pa.types.is_nested(column.type) and not pa.types.is_nested(kind):
        return pa.array([_text(v) for v in column.to_pylist()], pa.string()).cast(kind)
    if pa.types.is_binary(kind) and not pa.types.is_binary(column.type):
        column = column.cast(pa.string())
    return column.cast(kind)


def _common(kinds: Sequence[Any]) -> Any:
    """A type that all can be cast to."""
    # In their order, which decides on that of a document's keys.
    known = list(dict.fromkeys(kind for kind in kinds if not pa.types.is_null(kind)))
    if not known:
        return pa.null()
    if len(known) == 1:
        return known[0]
    if set(known) == {pa.int64(), pa.float64()}:
        return pa.float64()
    if all(pa.types.is_nested(kind) for kind in known):
        try:
            schemas = [pa.schema([("value", kind)]) for kind in known]
            return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            return pa.string()
    return pa.binary() if pa.binary() in known else pa.string()
