"""The rows of a server, a noun an attribute."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from seedbed_server.store import opening, requests
from seedbed_server.store.audit import Audit
from seedbed_server.store.database import Database, Integrity
from seedbed_server.store.datasets import Datasets, Uploads
from seedbed_server.store.files import Files
from seedbed_server.store.jobs import Jobs
from seedbed_server.store.leases import Leases
from seedbed_server.store.models import Models
from seedbed_server.store.notices import Listener
from seedbed_server.store.tokens import Tokens
from seedbed_server.store.trials import Events, Trials
from seedbed_server.store.values import now
from seedbed_server.store.winners import Winners

T = TypeVar("T")

REQUESTS_KEPT = timedelta(days=7)
# Whoever calls a server is told soon that the database is away; a worker rather waits than dies.
CALL_PATIENCE = 0.5
WORKER_PATIENCE = 900.0


class Store:
    """Opens the database at `url`, such as `sqlite:////data/seedbed.db`. Threads may share it; a
    process that forks opens its own. All methods block: async code calls them in threads.

    While the database cannot be reached they wait, for `patience` seconds, and then raise
    Unavailable.
    """

    def __init__(self, url: str, *, patience: float = CALL_PATIENCE) -> None:
        self._database = Database(url, patience=patience)
        self.url = url
        self.datasets = Datasets(self._database)
        self.uploads = Uploads(self._database)
        self.jobs = Jobs(self._database)
        self.leases = Leases(self._database)
        self.trials = Trials(self._database)
        self.events = Events(self._database)
        self.models = Models(self._database)
        self.winners = Winners(self._database)
        self.tokens = Tokens(self._database)
        self.audit = Audit(self._database)

    @property
    def shared(self) -> bool:
        """Whether several servers may use the database at once."""
        return self._database.shared

    def migrate(self) -> None:
        """Brings the database to this version's tables. Raises StartupError where it cannot be
        reached, is not seedbed's, or is of a newer version."""
        opening.migrate(self._database)

    def open(self, files: Files) -> None:
        """As `migrate`, and sees that the data directory is the one that belongs to the database,
        which it becomes where neither has another one. Raises StartupError."""
        opening.migrate(self._database)
        opening.check_directory(self._database, files)

    def listener(self, heard: Callable[[str, str], None]) -> Listener | None:
        """Hears what other servers and their workers do, once it is started; see `notices`. None
        where there are no others."""
        return Listener(self.url, heard) if self.shared else None

    def forget_requests(self) -> None:
        """Drops request ids that are too old to be retried."""
        with self._database.writing() as connection:
            requests.forget(connection, now() - REQUESTS_KEPT)

    def check_integrity(self, seconds: float) -> Integrity:
        """Reads the whole database, for so many seconds at most."""
        return self._database.check_integrity(seconds)

    def commit_seconds(self) -> float:
        """Seconds that a durable change takes."""
        return self._database.commit_seconds()

    def keep_trying(self, work: Callable[[], T]) -> T:
        """What `work` returns, which does whole transactions; it is done again while the database
        cannot be reached."""
        return self._database.keep_trying(work)

    def close(self) -> None:
        """Closes the connections."""
        self._database.close()
