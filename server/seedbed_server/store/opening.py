"""The start: is the database there, is it seedbed's, of which version, and for which files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from seedbed_server.errors import StartupError
from seedbed_server.store import migrations, tables
from seedbed_server.store.addresses import SETTING, shown, without_secrets
from seedbed_server.store.database import Database
from seedbed_server.store.files import Files, write_text
from seedbed_server.store.outages import TryAgain
from seedbed_server.store.values import new_id

_OLDEST_POSTGRESQL = (13,)
_DIRECTORY = "data_directory"
_REFUSED = re.compile(
    r"authentication failed|no password supplied|no pg_hba|role .* (does not exist|is not)"
)
_NOT_THERE = re.compile(r"database .* does not exist")
_NO_RIGHT = "42501"
_facts = tables.facts


def migrate(database: Database) -> None:
    """Brings the database to this version's tables; of several servers that start at once one does,
    and the others wait for it. Raises StartupError."""
    with _clear(database):
        with database.reading() as connection:
            _check_server(connection, database.url)
            at = migrations.revision(connection)
            if at != migrations.HEAD:
                _check_tables(connection, database.url)
        if at != migrations.HEAD:
            with database.writing() as connection:
                migrations.upgrade(connection, shown(database.url))


def check_directory(database: Database, files: Files) -> None:
    """Sees that nobody else's files lie in the data directory: the models would be taken for
    leftovers. SQLite lies there itself; a database that is shared has an id, which a file in the
    directory repeats. Raises StartupError."""
    with _clear(database):
        found = files.read_database_id()
        if not database.shared:
            if found:
                raise StartupError(
                    f"the data directory {files.root} belongs to a database that is not given; "
                    f"pass its address with {SETTING}, or another folder with --data-dir",
                    reason="DATA_DIR_OF_ANOTHER_DATABASE",
                )
            return
        with database.writing() as connection:
            wanted = connection.execute(
                sa.select(_facts.c.value).where(_facts.c.name == _DIRECTORY)
            ).scalar()
            if wanted is None:
                wanted = _adopt(files, found, database.url)
                connection.execute(sa.insert(_facts).values(name=_DIRECTORY, value=wanted))
        if (found and found != wanted) or (not found and files.read_database_id() != wanted):
            raise _another_directory(files, found, str(wanted), database.url)


def _adopt(files: Files, found: str, url: str) -> str:
    """The id of a directory that nobody uses, for a database that has none yet."""
    if files.database.exists() or files.hold_anything():
        raise StartupError(
            f"the data directory {files.root} has files of another database, and {shown(url)} is "
            "new; pass an empty folder with --data-dir",
            reason="DATA_DIR_OF_ANOTHER_DATABASE",
        )
    wanted = found or new_id()
    write_text(files.database_id, wanted + "\n")
    return wanted


def _another_directory(files: Files, found: str, wanted: str, url: str) -> StartupError:
    why = f"it belongs to another one ({found})" if found else f"it has no {files.database_id.name}"
    return StartupError(
        f"the data directory {files.root} is not that of {shown(url)}: {why}; all servers that "
        "share a database need the same folder, such as one on a network disk: pass it with "
        f"--data-dir; where this is a complete copy of it, write {wanted} into {files.database_id}",
        reason="DATA_DIR_OF_ANOTHER_DATABASE",
    )


def _check_server(connection: sa.Connection, url: str) -> None:
    if connection.dialect.name != "postgresql":
        return
    version = connection.dialect.server_version_info or ()
    if version < _OLDEST_POSTGRESQL:
        raise StartupError(
            f"{shown(url)} is of PostgreSQL {'.'.join(map(str, version))}, and seedbed needs 13 or "
            f"newer; name another server in {SETTING}",
            reason="DATABASE_TOO_OLD",
        )
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
    if encoding != "UTF8":
        raise StartupError(
            f"{shown(url)} keeps text as {encoding}, which cannot hold all of it; make one with "
            f"CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and name it in {SETTING}",
            reason="DATABASE_ENCODING",
        )


def _check_tables(connection: sa.Connection, url: str) -> None:
    found = set(sa.inspect(connection).get_table_names())
    if found and not {tables.jobs.name, tables.trials.name, tables.events.name} <= found:
        raise StartupError(
            f"{shown(url)} is none of seedbed's: it has tables such as {min(found)!r}; create an "
            f"empty database for seedbed and name it in {SETTING}",
            reason="DATABASE_NOT_SEEDBEDS",
        )


@contextmanager
def _clear(database: Database) -> Iterator[None]:
    try:
        yield
    except TryAgain as error:
        cause = error.__cause__
        said = str(cause.orig if isinstance(cause, DBAPIError) else error.message)
        raise _not_opened(database.url, without_secrets(said, database.url)) from None
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _NO_RIGHT:
            raise
        said = without_secrets(str(error.orig), database.url)
        raise StartupError(
            f"the user that {SETTING} names may not make tables in {shown(database.url)}: {said}; "
            "make that user its owner, or GRANT CREATE ON SCHEMA public",
            reason="DATABASE_REFUSES",
        ) from error


def _not_opened(url: str, said: str) -> StartupError:
    if _REFUSED.search(said):
        return StartupError(
            f"{shown(url)} turns seedbed away: {said}; the user is the one in {SETTING}, and the "
            "password comes from SEEDBED_DATABASE, PGPASSWORD or ~/.pgpass",
            reason="DATABASE_REFUSES",
        )
    if _NOT_THERE.search(said):
        return StartupError(
            f"{shown(url)} is not there: {said}; create it, or name another one in {SETTING}",
            reason="DATABASE_NOT_FOUND",
        )
    return StartupError(
        f"{shown(url)} cannot be reached: {said}; see that it runs, and that host and port in "
        f"{SETTING} are right",
        reason="DATABASE_UNREACHABLE",
    )
