"""Connections to each kind of database, set up as the store wants them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from seedbed_server.errors import StartupError
from seedbed_server.store.addresses import SETTING
from seedbed_server.store.columns import json_text, json_value

BUSY_SECONDS = 10
# A worker that was paused in the midst of a transaction does not hold its locks for longer.
_PAUSED_SECONDS = 10
# A server that does not answer is noticed within half a minute, whatever the network does.
_PATIENCE = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}


def sqlite_engine(url: str, synchronous: str) -> sa.Engine:
    """SQLite in WAL mode, with `PRAGMA synchronous` as given. A transaction with the execution
    option `seedbed_write` takes the write lock when it begins."""
    engine = sa.create_engine(
        url, pool_size=8, max_overflow=24, connect_args={"timeout": BUSY_SECONDS}
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


def postgresql_engine(url: str, *, pooled: bool = True) -> sa.Engine:
    """PostgreSQL through psycopg; what the URL does not say, libpq finds by itself, in `PG…`
    variables or a password file. Raises StartupError where the driver is not installed."""
    parsed = sa.make_url(url)
    more: dict[str, Any] = {"pool_size": 4, "max_overflow": 20}
    try:
        engine = sa.create_engine(
            parsed.update_query_dict({**_PATIENCE, **parsed.query}),
            json_serializer=json_text,
            json_deserializer=json_value,
            **(more if pooled else {"poolclass": sa.pool.NullPool}),
        )
    except ImportError as error:
        raise StartupError(
            f"{SETTING} needs a driver that is not installed: {error}; "
            'pip install "seedbed[postgres]"',
            reason="MISSING_EXTRA",
        ) from error

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, record: Any) -> None:  # noqa: ARG001
        before = connection.autocommit
        connection.autocommit = True
        connection.execute(
            f"SET lock_timeout = '{BUSY_SECONDS}s';"
            f"SET idle_in_transaction_session_timeout = '{_PAUSED_SECONDS}s'"
        )
        connection.autocommit = before

    return engine
