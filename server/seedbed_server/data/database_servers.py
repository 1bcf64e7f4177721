"""Connections to PostgreSQL and MySQL: where they go, what they may do, and for how long."""

from __future__ import annotations

import os
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from seedbed_sdk.errors import SeedbedError, Unavailable
from seedbed_server.data.addresses import checked_addresses
from seedbed_server.data.remote import Limits
from seedbed_server.data.sources import ResolvedSource, shown

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_CONNECT_SECONDS = 30
# MySQL's numbers: of errors that the driver itself finds; of a server that has no room, stops, or
# ends connections; of a user that it turns away.
_CLIENT_ERRORS = range(2_000, 3_000)
_BUSY = {1040, 1053, 1203, 1226, 1927}
_UNKNOWN_USER = {1044, 1045, 1698}
# libpq tells no codes of a connection that fails, and puts two blanks after the server's "FATAL:".
_PG_ANSWERED = re.compile(r"failed: \w+:  |no password supplied")
_PG_BUSY = re.compile(r"starting up|shutting down|recovery|not yet accepting|too many|reserved")


class _Server(NamedTuple):
    """How a kind of database servers is spoken to."""

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


def server_engine(source: ResolvedSource, limits: Limits) -> Engine:
    """Raises InvalidArgument where the driver is missing, and as `checked_addresses`."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    server = _SERVERS[source.scheme]
    try:
        return create_engine(
            _url(source, server),
            connect_args=connect_arguments(source, limits.seconds_left()),
            poolclass=NullPool,
        )
    except ImportError as error:
        raise source.refusal(
            f"cannot be read: {error}; install seedbed[{server.extra}] where the server runs",
            reason="MISSING_EXTRA",
        ) from error


def _url(source: ResolvedSource, server: _Server) -> Any:
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
    url = _url(source, server)
    address = checked_addresses(source, str(url.host), url.port or server.port)[0]
    most = _whole(seconds)
    if server.package == "psycopg":
        return {
            "hostaddr": address,
            # Without this the driver would take it from the environment, whatever the host.
            "password": url.password or "",
            # Nor from the password file, where seedbed's own may lie: no file has such a path.
            "passfile": f"{os.devnull}/none",
            "connect_timeout": min(_CONNECT_SECONDS, most),
            "options": f"-c default_transaction_read_only=on -c statement_timeout={most}s",
        }
    return {
        "host": address,
        "connect_timeout": min(_CONNECT_SECONDS, most),
        "read_timeout": most,
        "local_infile": False,
        "init_command": "SET SESSION TRANSACTION READ ONLY",
    }


def _whole(seconds: float) -> int:
    """Whole seconds, and more than `seconds`: whoever asks waits no longer than that anyway."""
    return int(seconds) + 1


@contextmanager
def connected(engine: Engine, source: ResolvedSource, limits: Limits) -> Iterator[Connection]:
    """A connection whose transaction is rolled back at the end, and which is cut when time is up.

    Raises Unavailable where the server cannot be reached or has no room, and InvalidArgument with
    the field `uri` where it turns the user away or is no such server.
    """
    import sqlalchemy

    try:
        connection = engine.connect()
    except sqlalchemy.exc.OperationalError as error:
        raise _not_connected(source, error) from error
    except (
        sqlalchemy.exc.DBAPIError,
        struct.error,
        LookupError,
        ValueError,
        RuntimeError,
    ) as error:
        # What else speaks at that port, the driver takes for broken packets.
        raise source.refusal(
            f"cannot be opened, and may be no {source.scheme} server: {said_by(error)}"
        ) from error
    driver: Any = connection.connection.driver_connection
    with connection, _cut_after(driver, limits.seconds_left()):
        try:
            if source.scheme == "mysql":
                connection.exec_driver_sql(_time_limit(connection, _whole(limits.seconds_left())))
            yield connection
        except BaseException:
            _forget_answer(driver)
            connection.invalidate()
            raise


def _forget_answer(driver: Any) -> None:
    """Keeps MySQL's driver from reading an answer to its end: before it closes, and again when its
    objects are deleted."""
    answer: Any = getattr(driver, "_result", None)
    if getattr(answer, "unbuffered_active", False):
        answer.unbuffered_active = False


def _time_limit(connection: Connection, seconds: int) -> str:
    if getattr(connection.dialect, "is_mariadb", False):
        return f"SET SESSION max_statement_time = {seconds}"
    return f"SET SESSION max_execution_time = {seconds * 1000}"


@contextmanager
def _cut_after(driver: Any, seconds: float) -> Iterator[None]:
    """Hangs up after `seconds`. The servers' own limits are for one statement, of which a long
    answer has many, and count only where the server keeps to them."""
    line = driver._sock if hasattr(driver, "_sock") else driver
    with socket.socket(fileno=os.dup(line.fileno())) as held:
        timer = threading.Timer(seconds, _hang_up, (held,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _hang_up(line: socket.socket) -> None:
    with suppress(OSError):  # The other side was first.
        line.shutdown(socket.SHUT_RDWR)


def _not_connected(source: ResolvedSource, error: Any) -> SeedbedError:
    server, said = _SERVERS[source.scheme], str(error.orig)
    number = _number(error)
    if number is not None:
        answered = number not in _BUSY and number not in _CLIENT_ERRORS
        password = number in _UNKNOWN_USER
    else:
        answered = bool(_PG_ANSWERED.search(said)) and not _PG_BUSY.search(said)
        password = "password" in said
    if not answered:
        return unavailable(source, error)
    hint = (
        f"; name the user in the URI, as in {source.scheme}://user@host/database, and start the "
        f"server with {server.password_variable}, and with {server.host_variable} as the host "
        "that it is for"
    )
    return source.refusal(f"cannot be opened: {said_by(error)}{hint if password else ''}")


def is_lost(error: Exception) -> bool:
    """Whether an error in the middle of an answer says that the connection is gone."""
    return bool(getattr(error, "connection_invalidated", False)) or _number(error) in _BUSY


def unavailable(source: ResolvedSource, error: Exception) -> Unavailable:
    return Unavailable(f"{shown(source.uri)}: {said_by(error)}; try again")


def said_by(error: Exception) -> str:
    """What the database said, in one line."""
    said: Any = getattr(error, "orig", None) or error
    diagnosis = getattr(said, "diag", None)
    if primary := getattr(diagnosis, "message_primary", None):
        # Without the line of the query, which begins with the DECLARE of a cursor.
        hint = getattr(diagnosis, "message_hint", None)
        return " ".join(f"{primary}; {hint}".split()) if hint else primary
    arguments: Any = getattr(said, "args", ())
    text = arguments[1] if _number(error) is not None and len(arguments) > 1 else said
    return " ".join(str(text).split())


def _number(error: Exception) -> int | None:
    """MySQL's number of an error; None for those of others."""
    first = next(iter(getattr(getattr(error, "orig", None), "args", ())), None)
    return first if isinstance(first, int) else None
