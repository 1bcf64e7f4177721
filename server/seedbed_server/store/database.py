"""Connections and transactions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from seedbed_sdk.errors import ResourceExhausted, Unavailable
from seedbed_server.store import postgresql, tables
from seedbed_server.store.engines import BUSY_SECONDS, postgresql_engine, sqlite_engine
from seedbed_server.store.outages import TryAgain, keep_trying, passing_reason

T = TypeVar("T")

_DISK_FULL = "53100"
_STEPS = 10_000
_MOST_FAULTS = 5


@dataclass(frozen=True, slots=True)
class Integrity:
    """What is wrong with a database's file, and whether all of it was looked at."""

    faults: tuple[str, ...]
    complete: bool


class Database:
    """A SQL database: SQLite, or PostgreSQL, which several servers may share. Threads may share it;
    a process that forks opens its own.

    SQLite runs in WAL mode. Writers take the write lock when they begin, so that what they read in
    the transaction is what they change. On PostgreSQL those that are `exclusive` wait for each
    other, and the others lock the rows that they change, for the same end.

    `patience` is for how many seconds `keep_trying` waits for a database that cannot be reached.
    """

    def __init__(self, url: str, *, patience: float = 0.0) -> None:
        self.url = url
        self.shared = sa.make_url(url).get_backend_name() == "postgresql"
        self._patience = patience
        if self.shared:
            self._durable = self._relaxed = postgresql_engine(url)
        else:
            self._durable = sqlite_engine(url, "FULL")
            self._relaxed = sqlite_engine(url, "NORMAL")

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that sees one state of the database."""
        level = {"isolation_level": "REPEATABLE READ"} if self.shared else {}
        with (
            self._clear_errors(),
            self._durable.connect().execution_options(**level) as connection,
        ):
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = True, exclusive: bool = True) -> Iterator[sa.Connection]:
        """A write transaction: committed at the end, rolled back when an exception leaves it.

        Without `durable` a power cut may lose it, though never a process's death. Without
        `exclusive` it has to lock the rows that it reads and changes. Raises TryAgain where it did
        not take place and may be done again as a whole.
        """
        with self._clear_errors():
            if self.shared:
                with postgresql.transaction(
                    self._durable, durable=durable, exclusive=exclusive, patience=self._patience
                ) as connection:
                    yield connection
                return
            engine = self._durable if durable else self._relaxed
            with (
                engine.connect().execution_options(seedbed_write=True) as connection,
                connection.begin(),
            ):
                yield connection

    def keep_trying(self, work: Callable[[], T]) -> T:
        """What `work` returns; it is done again while the database cannot be reached."""
        return keep_trying(work, self._patience)

    def check_integrity(self, seconds: float) -> Integrity:
        """Reads the whole file, for so many seconds at most; a database server sees to its own."""
        if self.shared:
            return Integrity((), complete=True)
        ends = time.monotonic() + seconds
        with self._durable.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.set_progress_handler(lambda: time.monotonic() > ends, _STEPS)
            try:
                rows = connection.exec_driver_sql(f"PRAGMA quick_check({_MOST_FAULTS})").all()
            except DBAPIError as error:
                if "interrupted" in str(error.orig):
                    return Integrity((), complete=False)
                return Integrity((str(error.orig),), complete=True)
            finally:
                driver.set_progress_handler(None, _STEPS)
        return Integrity(tuple(text for (text,) in rows if text != "ok"), complete=True)

    def commit_seconds(self) -> float:
        """Seconds that a durable change takes, waiting for other writers included."""
        began = time.perf_counter()
        with self.writing(exclusive=False) as connection:
            if self.shared:
                connection.execute(sa.update(tables.facts).values(value=tables.facts.c.value))
            else:
                # A number that is nobody's, written as it is.
                number = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
                connection.exec_driver_sql(f"PRAGMA user_version = {number}")
        return time.perf_counter() - began

    def close(self) -> None:
        """Closes the pooled connections."""
        self._durable.dispose()
        self._relaxed.dispose()

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if self.shared:
                _explain_postgresql(error)
            else:
                _explain_sqlite(error)
            raise


def _explain_sqlite(error: DBAPIError) -> None:
    text = str(error.orig)
    if "disk is full" in text:
        raise ResourceExhausted(
            "the disk that holds the data directory is full; free some space and try again",
            reason="DISK_FULL",
        ) from error
    if "database is locked" in text:
        raise Unavailable(
            f"the database was busy for {BUSY_SECONDS} s; try again", reason="DATABASE_BUSY"
        ) from error


def _explain_postgresql(error: DBAPIError) -> None:
    if getattr(error.orig, "sqlstate", None) == _DISK_FULL:
        raise ResourceExhausted(
            "the disk of the database server is full; free some space and try again",
            reason="DISK_FULL",
        ) from error
    reason = passing_reason(error)
    if reason == "DATABASE_BUSY":
        raise TryAgain("the database was busy; try again", reason=reason) from error
    if reason:
        raise TryAgain(
            "the database cannot be reached at the moment; try again", reason=reason
        ) from error
