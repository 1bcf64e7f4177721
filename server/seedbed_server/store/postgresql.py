"""Transactions on PostgreSQL, of which it is always known whether they took place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from seedbed_sdk.errors import Unavailable
from seedbed_server.store.outages import TryAgain, passing_reason, pauses

# Any number will do that nobody else takes in the same database.
_EXCLUSIVE_LOCK = 7_333_425_119
# What is asked about a commit that may still be going on, for at least so long.
_SETTLE_SECONDS = 5.0


@contextmanager
def transaction(
    engine: sa.Engine, *, durable: bool, exclusive: bool, patience: float
) -> Iterator[sa.Connection]:
    """Committed at the end, rolled back when an exception leaves it.

    A connection that is lost during the commit leaves open whether there was one: then the server
    is asked, for `patience` seconds. Raises DBAPIError or TryAgain where there was none,
    Unavailable where the server could not be asked.
    """
    number = None
    committing = False
    try:
        with engine.connect() as connection, connection.begin():
            if not durable:
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            if exclusive:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_EXCLUSIVE_LOCK})")
            yield connection
            number = connection.exec_driver_sql(
                "SELECT pg_current_xact_id_if_assigned()::text"
            ).scalar()
            committing = number is not None
    except DBAPIError as error:
        if not committing or passing_reason(error) != "DATABASE_UNREACHABLE":
            raise
        if not _took_place(engine, str(number), patience):
            raise TryAgain(
                "the connection to the database was lost during a commit, which did not take place",
                reason="DATABASE_UNREACHABLE",
            ) from error


def _took_place(engine: sa.Engine, number: str, patience: float) -> bool:
    """Whether the transaction was committed. Raises Unavailable where nobody says so in time."""
    for _ in pauses(max(patience, _SETTLE_SECONDS)):
        with suppress(DBAPIError):
            state = _state(engine, number)
            if state in ("committed", "aborted"):
                return state == "committed"
    raise Unavailable(
        "the connection to the database was lost during a commit, and whether it took place could "
        "not be found out; look at what is there before trying again",
        reason="COMMIT_UNKNOWN",
    )


def _state(engine: sa.Engine, number: str) -> str:
    try:
        with engine.connect() as connection:
            asked = sa.text("SELECT pg_xact_status(CAST(:number AS xid8))")
            return str(connection.execute(asked, {"number": number}).scalar())
    except DBAPIError as error:
        # A number that a server does not know was given out before it crashed, and never used.
        if str(getattr(error.orig, "sqlstate", "")) == "22023":
            return "aborted"
        raise
