"""The answer of a database to one SELECT, through SQLAlchemy, as an Arrow file."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from seedbed_sdk.errors import InvalidArgument, Unavailable
from seedbed_server.data.addresses import checked_addresses
from seedbed_server.data.frames import BadTable, check_columns
from seedbed_server.data.remote import Found, Limits
from seedbed_server.data.sources import ResolvedSource, shown, source_field
from seedbed_server.data.uris import sqlite_path

if TYPE_CHECKING:
    from sqlalchemy import Engine

_CHUNK_ROWS = 10_000
_INTERRUPT_STEPS = 100_000
# Quoted text and names, and comments: where a semicolon is no end.
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|--[^\n]*|/\*.*?\*/", re.DOTALL)
_READING = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
    sqlite3.SQLITE_TRANSACTION,
}


class _Server(NamedTuple):
    """How the kinds of database servers are spoken to."""

    driver: str
    package: str
    extra: str
    port: int
    host_variable: str
    password_variable: str


_SERVERS = {
    "postgresql": _Server(
        "postgresql+psycopg", "psycopg", "postgres", 5432, "PGHOST", "PGPASSWORD"
    ),
    "mysql": _Server("mysql+pymysql", "pymysql", "mysql", 3306, "MYSQL_HOST", "MYSQL_PWD"),
}


@contextmanager
def find(source: ResolvedSource, limits: Limits) -> Iterator[Found]:
    """The rows that the source's query answers, as the file `query.arrow`.

    The version of an SQLite database is that of its files; of others it is not known. Raises
    InvalidArgument with the field `query` for what is no single SELECT, that the database refuses,
    or whose answer has more rows or bytes than the policy allows.
    """
    check_query(source)
    version = _sqlite_version(sqlite_path(source.uri)) if source.scheme == "sqlite" else ""

    def save(target: Path) -> None:
        import sqlalchemy

        engine = _engine(source, limits)
        try:
            _write(engine, source, target, limits)
        except sqlalchemy.exc.OperationalError as error:
            if source.scheme != "sqlite" and error.connection_invalidated:
                raise Unavailable(f"{shown(source.uri)}: {error.orig}; try again") from error
            raise _refused(source, f"the database refuses it: {error.orig}") from error
        except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error) as error:
            raise _refused(
                source, f"the database refuses it: {getattr(error, 'orig', error)}"
            ) from error
        finally:
            engine.dispose()

    yield Found("query.arrow", version, save)


def check_query(source: ResolvedSource) -> None:
    """Raises InvalidArgument unless the query is one SELECT, or WITH … SELECT. What it does is also
    kept to reading by the connection."""
    bare = _QUOTED.sub(" ", source.source.query).strip()
    if ";" in bare.rstrip("; \n\t\r"):
        raise _refused(source, "holds more than one statement; write one SELECT")
    if not re.match(r"(select|with)\b", bare, re.IGNORECASE):
        raise _refused(source, "is no SELECT; only reading is done")


def _refused(source: ResolvedSource, what: str) -> InvalidArgument:
    return InvalidArgument(source_field(source.index, "query"), what, reason="BAD_QUERY")


def _sqlite_version(path: Path) -> str:
    marks = []
    # What was written last may be in the log beside the database.
    for file in (path, path.with_name(f"{path.name}-wal")):
        if file.exists():
            found = file.stat()
            marks.append(f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}")
    return "\n".join(marks)


def _engine(source: ResolvedSource, limits: Limits) -> Engine:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    if source.scheme == "sqlite":
        path = sqlite_path(source.uri).resolve()
        return create_engine(
            "sqlite://", creator=lambda: _open_sqlite(path, source, limits), poolclass=NullPool
        )
    server = _SERVERS[source.scheme]
    try:
        return create_engine(
            _server_url(source, server),
            connect_args=connect_arguments(source, limits.seconds_left()),
            poolclass=NullPool,
        )
    except ImportError as error:
        raise source.refusal(
            f"cannot be read: {error}; install seedbed[{server.extra}] where the server runs",
            reason="MISSING_EXTRA",
        ) from error


def _open_sqlite(path: Path, source: ResolvedSource, limits: Limits) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
    connection.execute("PRAGMA query_only = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, source.policy.max_item_bytes)

    def authorise(action: int, name: str | None, *_: object) -> int:
        # Above all no ATTACH, which would open other files. SQLAlchemy asks how it is isolated.
        asked = action == sqlite3.SQLITE_PRAGMA and name == "read_uncommitted"
        return sqlite3.SQLITE_OK if asked or action in _READING else sqlite3.SQLITE_DENY

    connection.set_authorizer(authorise)
    deadline = time.monotonic() + limits.seconds_left()
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _INTERRUPT_STEPS)
    return connection


def _server_url(source: ResolvedSource, server: _Server) -> Any:
    from sqlalchemy import make_url

    url = make_url(source.uri).set(drivername=server.driver)
    # The password goes to the host it is for, and to none that a user names.
    known = os.environ.get(server.host_variable, "")
    password = os.environ.get(server.password_variable, "")
    return url.set(password=password) if known and url.host == known else url


def connect_arguments(source: ResolvedSource, seconds: float) -> dict[str, Any]:
    """What a server's driver is given beside the URL: the address that was checked, the password
    where the host is the one it is for, and limits in `seconds`. Raises as `checked_addresses`."""
    server = _SERVERS[source.scheme]
    url = _server_url(source, server)
    address = checked_addresses(source, str(url.host), url.port or server.port)[0]
    most = int(seconds) + 1
    if server.package == "psycopg":
        return {
            "hostaddr": address,
            # Without this the driver would take it from the environment, whatever the host.
            "password": url.password or "",
            "connect_timeout": 30,
            "options": f"-c default_transaction_read_only=on -c statement_timeout={most}s",
        }
    return {
        "host": address,
        "connect_timeout": 30,
        "read_timeout": most,
        "local_infile": False,
        "init_command": "SET SESSION TRANSACTION READ ONLY",
    }


def _write(engine: Engine, source: ResolvedSource, target: Path, limits: Limits) -> None:
    from sqlalchemy import text

    # A colon is part of SQL here, and no place for a value.
    query = text(source.source.query.strip().rstrip(";").replace(":", "\\:"))
    with engine.connect() as opened:
        connection = opened.execution_options(stream_results=True, max_row_buffer=_CHUNK_ROWS)
        result = connection.execute(query)
        names = [name.strip() for name in map(str, result.keys())]
        try:
            check_columns(names, source.policy.max_columns)
        except BadTable as error:
            raise _refused(source, f"gives a table that {error}") from error
        parts = _Parts(target, names)
        rows = size = 0
        for chunk in result.partitions(_CHUNK_ROWS):
            rows += len(chunk)
            if rows > source.policy.max_rows:
                raise _refused(
                    source,
                    f"answers more than {source.policy.max_rows:,} rows; add a LIMIT or WHERE",
                )
            added = parts.add(chunk)
            limits.add(added)
            size += added
            if size > source.policy.max_table_bytes:
                raise _refused(
                    source,
                    f"answers more than {source.policy.max_table_bytes:,} bytes; ask for fewer "
                    "columns, or add a LIMIT or WHERE",
                )
    parts.finish()


class _Parts:
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
        import pyarrow as pa
        import pyarrow.ipc

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
        import pyarrow as pa
        import pyarrow.ipc

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
    import decimal

    import pyarrow as pa

    plain = [float(v) if isinstance(v, decimal.Decimal) else v for v in values]
    try:
        return pa.array(plain)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([None if v is None else str(v) for v in plain])


def _cast(column: Any, kind: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_binary(kind) and not pa.types.is_binary(column.type):
        column = column.cast(pa.string())
    return column.cast(kind)


def _common(kinds: Sequence[Any]) -> Any:
    """A type that all can be cast to."""
    import pyarrow as pa

    known = {kind for kind in kinds if not pa.types.is_null(kind)}
    if not known:
        return pa.null()
    if len(known) == 1:
        return known.pop()
    if known == {pa.int64(), pa.float64()}:
        return pa.float64()
    return pa.binary() if pa.binary() in known else pa.string()
