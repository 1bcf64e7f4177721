"""Connections and transactions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from seedbed_sdk.errors import ResourceExhausted, Unavailable

_BUSY_SECONDS = 10
_STEPS = 10_000
_MOST_FAULTS = 5


@dataclass(frozen=True, slots=True)
class Integrity:
    """What is wrong with a database's file, and whether all of it was looked at."""

    faults: tuple[str, ...]
    complete: bool


class Database:
    """A SQL database. Threads may share it; a process that forks opens its own.

    SQLite runs in WAL mode. Writers take the write lock when they begin, so that what they read in
    the transaction is what they change.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._durable = _engine(url, "FULL")
        self._relaxed = _engine(url, "NORMAL")

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that sees one state of the database."""
        with _clear_errors(), self._durable.connect() as connection:
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[sa.Connection]:
        """A write transaction: committed at the end, rolled back when an exception leaves it.

        Without `durable` a power cut may lose it, though never a process's death.
        """
        engine = self._durable if durable else self._relaxed
        with (
            _clear_errors(),
            engine.connect().execution_options(seedbed_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    def check_integrity(self, seconds: float) -> Integrity:
        """Reads the whole file, for so many seconds at most."""
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
        with self.writing() as connection:
            # A number that is nobody's, written as it is.
            number = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
            connection.exec_driver_sql(f"PRAGMA user_version = {number}")
        return time.perf_counter() - began

    def close(self) -> None:
        """Closes the pooled connections."""
        self._durable.dispose()
        self._relaxed.dispose()


def _engine(url: str, synchronous: str) -> sa.Engine:
    engine = sa.create_engine(
        url, pool_size=8, max_overflow=24, connect_args={"timeout": _BUSY_SECONDS}
    )

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, record: Any) -> None:  # noqa: ARG001
        # The driver would begin transactions late, at the first write, and deadlock two readers
        # that both go on to write.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute(f"PRAGMA synchronous = {synchronous}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        write = connection.get_execution_options().get("seedbed_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


@contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        text = str(error.orig)
        if "disk is full" in text:
            raise ResourceExhausted(
                "the disk that holds the data directory is full; free some space and try again",
                reason="DISK_FULL",
            ) from error
        if "database is locked" in text:
            raise Unavailable(
                f"the database was busy for {_BUSY_SECONDS} s; try again", reason="DATABASE_BUSY"
            ) from error
        raise
