"""The answer of a database to one SELECT, through SQLAlchemy, as an Arrow file."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from seedbed_sdk.errors import InvalidArgument, Unavailable
from seedbed_server.data.addresses import checked_addresses
from seedbed_server.data.arrow_parts import ArrowParts
from seedbed_server.data.frames import BadTable, check_columns
from seedbed_server.data.remote import Found, Limits
from seedbed_server.data.sources import ResolvedSource, shown, source_field
from seedbed_server.data.uris import sqlite_path

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_CHUNK_ROWS = 10_000
_INTERRUPT_STEPS = 100_000
_FIRST_CLIENT_ERROR = 2_000
# Quoted text and names, and comments: where a semicolon is no end.
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|--[^\n]*|/\*.*?\*/", re.DOTALL)
# What a query that answers rows may still write or read of the database server's own disk. These
# words are looked for in quotes and comments too: MySQL runs some comments.
_WRITES = re.compile(r"\binto\b", re.IGNORECASE)
_SERVER_FILES = re.compile(r"\b(outfile|dumpfile|load_file)\b", re.IGNORECASE)
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
            with _connected(engine, source) as connection:
                _write(connection, source, target, limits)
        except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error) as error:
            if getattr(error, "connection_invalidated", False):
                raise _unavailable(source, error) from error
            raise _refused(source, f"the database refuses it: {_said_by(error)}") from error
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
    if _WRITES.search(bare):
        raise _refused(source, "says INTO, which writes; only reading is done")
    files = _SERVER_FILES.search(source.source.query) if source.scheme == "mysql" else None
    if files:
        raise _refused(source, f"says {files[0]}, and files of the database server are not touched")


def _refused(source: ResolvedSource, what: str) -> InvalidArgument:
    return InvalidArgument(source_field(source.index, "query"), what, reason="BAD_QUERY")


@contextmanager
def _connected(engine: Engine, source: ResolvedSource) -> Iterator[Connection]:
    """A connection whose transaction is rolled back at the end. Raises Unavailable where the server
    cannot be reached, and InvalidArgument with the field `uri` where it turns the user away."""
    import sqlalchemy

    try:
        connection = engine.connect()
    except sqlalchemy.exc.OperationalError as error:
        # Only an answer of the server has a state (PostgreSQL) or a number below 2000 (MySQL).
        number = next(iter(getattr(error.orig, "args", ())), None)
        answered = getattr(error.orig, "sqlstate", None) or (
            isinstance(number, int) and number < _FIRST_CLIENT_ERROR
        )
        if source.scheme == "sqlite" or answered:
            raise source.refusal(f"cannot be opened: {_said_by(error)}") from error
        raise _unavailable(source, error) from error
    with connection:
        yield connection


def _unavailable(source: ResolvedSource, error: Exception) -> Unavailable:
    return Unavailable(f"{shown(source.uri)}: {_said_by(error)}; try again")


def _said_by(error: Exception) -> str:
    """What the database said, in one line."""
    return " ".join(str(getattr(error, "orig", None) or error).split())


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
