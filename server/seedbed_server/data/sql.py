"""The answer of a database to one SELECT, through SQLAlchemy, as an Arrow file."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from seedbed_sdk.errors import InvalidArgument
from seedbed_server.data.arrow_parts import ArrowParts
from seedbed_server.data.database_servers import (
    connected,
    is_lost,
    said_by,
    server_engine,
    unavailable,
)
from seedbed_server.data.frames import BadTable, check_columns
from seedbed_server.data.remote import Found, Limits
from seedbed_server.data.sources import ResolvedSource, source_field
from seedbed_server.data.uris import sqlite_path

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_CHUNK_ROWS = 10_000
_FIRST_ROWS = 20
_CHUNK_BYTES = 16 * 2**20
_INTERRUPT_STEPS = 100_000
# Quoted text and names, and comments: where a semicolon is no end.
_QUOTED = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$", re.DOTALL
)
_QUOTED_IN_MYSQL = re.compile(
    r"'(?:[^'\\]|''|\\.)*'|\"(?:[^\"\\]|\"\"|\\.)*\"|`[^`]*`|(?:--|#)[^\n]*|/\*.*?\*/", re.DOTALL
)
_WRITES = re.compile(r"\binto\b", re.IGNORECASE)
# By which a query that only answers rows may touch the database server's disk, run another text as
# a query, or reach another server, where the user has the right to. They are looked for in quotes
# and comments too: names may be quoted, and MySQL runs some comments.
_REACHING = {
    "mysql": re.compile(r"\b(outfile|dumpfile|load_file)\b", re.IGNORECASE),
    "postgresql": re.compile(
        r"\b(pg_read_file|pg_read_binary_file|pg_stat_file|pg_ls_\w+|pg_file_\w+|lo_import|"
        r"lo_export|dblink\w*|query_to_xml\w*|cursor_to_xml\w*|ts_stat|ts_rewrite|set_config)\b|"
        r"\bu&(?=\")",
        re.IGNORECASE,
    ),
}
_READING = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
    sqlite3.SQLITE_TRANSACTION,
}


@contextmanager
def find(source: ResolvedSource, limits: Limits) -> Iterator[Found]:
    """The rows that the source's query answers, as the file `query.arrow`.

    The version of an SQLite database is that of its files; of others it is not known. Raises
    InvalidArgument with the field `query` for what is no single SELECT, that the database refuses,
    or whose answer has more rows or bytes than the policy allows; Unavailable where the server
    cannot be reached, ends the connection, or takes too long.
    """
    check_query(source)
    version = _sqlite_version(sqlite_path(source.uri)) if source.scheme == "sqlite" else ""

    def save(target: Path) -> None:
        import sqlalchemy

        engine = _engine(source, limits)
        try:
            with _opened(engine, source, limits) as connection:
                _write(connection, source, target, limits)
        except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error) as error:
            limits.add(0)  # What ends a query in time says so in many ways.
            if is_lost(error):
                raise unavailable(source, error) from error
            raise _refused(source, f"the database refuses it: {said_by(error)}") from error
        finally:
            engine.dispose()

    yield Found("query.arrow", version, save)


def check_query(source: ResolvedSource) -> None:
    """Raises InvalidArgument unless the query is one SELECT, or WITH … SELECT. What it does is also
    kept to reading by the connection."""
    quoted = _QUOTED_IN_MYSQL if source.scheme == "mysql" else _QUOTED
    bare = quoted.sub(" ", source.source.query).strip()
    if ";" in bare.rstrip("; \n\t\r"):
        raise _refused(source, "holds more than one statement; write one SELECT")
    if not re.match(r"(select|with)\b", bare, re.IGNORECASE):
        raise _refused(source, "is no SELECT; only reading is done")
    if _WRITES.search(bare):
        raise _refused(source, "says INTO, which writes; only reading is done")
    reaching = _REACHING.get(source.scheme)
    if found := reaching and reaching.search(source.source.query):
        raise _refused(source, f"says {found[0]}, which reaches beyond the database's tables")


def _refused(source: ResolvedSource, what: str) -> InvalidArgument:
    return InvalidArgument(source_field(source.index, "query"), what, reason="BAD_QUERY")


@contextmanager
def _opened(engine: Engine, source: ResolvedSource, limits: Limits) -> Iterator[Connection]:
    if source.scheme != "sqlite":
        with connected(engine, source, limits) as connection:
            yield connection
        return
    import sqlalchemy

    try:
        connection = engine.connect()
    except sqlalchemy.exc.OperationalError as error:
        raise source.refusal(f"cannot be opened: {said_by(error)}") from error
    with connection:
        yield connection


def _sqlite_version(path: Path) -> str:
    marks = []
    # What was written last may be in the log beside the database.
    for file in (path, path.with_name(f"{path.name}-wal")):
        if file.exists():
            found = file.stat()
            marks.append(f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}")
    return "\n".join(marks)


def _engine(source: ResolvedSource, limits: Limits) -> Engine:
    if source.scheme != "sqlite":
        return server_engine(source, limits)
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    path = sqlite_path(source.uri).resolve()
    return create_engine(
        "sqlite://", creator=lambda: _open_sqlite(path, source, limits), poolclass=NullPool
    )


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


def _write(opened: Connection, source: ResolvedSource, target: Path, limits: Limits) -> None:
    from sqlalchemy import text

    # A colon is part of SQL here, and no place for a value.
    query = text(source.source.query.strip().rstrip(";").replace(":", "\\:"))
    connection = opened.execution_options(stream_results=True, max_row_buffer=_CHUNK_ROWS)
    result = connection.execute(query)
    names = [name.strip() for name in map(str, result.keys())]
    try:
        check_columns(names, source.policy.max_columns)
    except BadTable as error:
        raise _refused(source, f"gives a table that {error}") from error
    parts = ArrowParts(target, names)
    rows = size = 0
    count = _FIRST_ROWS
    while chunk := result.fetchmany(count):
        rows += len(chunk)
        if rows > source.policy.max_rows:
            raise _refused(
                source,
                f"answers more than {source.policy.max_rows:,} rows; add a LIMIT or WHERE",
            )
        added = parts.add(chunk)
        limits.add(added)
        size += added
        # So that rows with a picture each are not held by the thousand.
        fitting = max(1, _CHUNK_BYTES * len(chunk) // max(1, added))
        count = min(_CHUNK_ROWS, 10 * count, fitting)
        if size > source.policy.max_table_bytes:
            raise _refused(
                source,
                f"answers more than {source.policy.max_table_bytes:,} bytes; ask for fewer "
                "columns, or add a LIMIT or WHERE",
            )
    parts.finish()
