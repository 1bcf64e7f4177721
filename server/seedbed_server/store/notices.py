"""What the servers that share a database tell each other: on PostgreSQL, with LISTEN and NOTIFY."""

from __future__ import annotations

import threading
from collections.abc import Callable

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import DBAPIError

from seedbed_server.store.engines import postgresql_engine

log = structlog.get_logger()

EVENTS = "seedbed_events"
"""A job, whose id comes along, has new events."""
QUEUE = "seedbed_queue"
"""A job was put in the queue."""

_LOOK_SECONDS = 1.0
_AGAIN_SECONDS = 1.0


def announce(connection: sa.Connection, channel: str, text: str = "") -> None:
    """Tells the servers when the connection's transaction is committed; where there can be only
    one, nobody."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_notify(channel, text)))


class Listener:
    """Hears what is announced, on a connection and a thread of its own, which is lost and found
    again with the database.

    `heard(channel, text)` is called on that thread; with an empty channel when anything may have
    been announced that was not heard.
    """

    def __init__(self, url: str, heard: Callable[[str, str], None]) -> None:
        self._url = url
        self._heard = heard
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
        self.connected = False

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Ends it within a second or so; does not wait."""
        self._ending.set()

    def _run(self) -> None:
        engine = postgresql_engine(self._url, pooled=False)
        while not self._ending.is_set():
            try:
                self._listen(engine)
            # The driver's own errors, outside of SQLAlchemy's calls, are of this class too.
            except (DBAPIError, engine.dialect.loaded_dbapi.Error) as error:
                if self.connected:
                    log.warning("listener_lost", why=type(error).__name__)
            finally:
                self.connected = False
            self._ending.wait(_AGAIN_SECONDS)

    def _listen(self, engine: sa.Engine) -> None:
        with engine.connect() as outer:
            connection = outer.connection.driver_connection
            assert connection is not None
            connection.autocommit = True
            try:
                for channel in (EVENTS, QUEUE):
                    connection.execute(f"LISTEN {channel}")
                self.connected = True
                self._heard("", "")
                while not self._ending.is_set():
                    for notice in connection.notifies(timeout=_LOOK_SECONDS):
                        self._heard(notice.channel, notice.payload)
            finally:
                # SQLAlchemy did not see what became of it, and would roll back on a lost one.
                outer.invalidate()
