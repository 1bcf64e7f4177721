"""The rows of a server, a noun an attribute."""

from __future__ import annotations

from datetime import timedelta

from seedbed_server.store import migrations, requests
from seedbed_server.store.audit import Audit
from seedbed_server.store.database import Database, Integrity
from seedbed_server.store.datasets import Datasets, Uploads
from seedbed_server.store.jobs import Jobs
from seedbed_server.store.models import Models
from seedbed_server.store.tokens import Tokens
from seedbed_server.store.trials import Events, Trials
from seedbed_server.store.values import now
from seedbed_server.store.winners import Winners

REQUESTS_KEPT = timedelta(days=7)


class Store:
    """Opens the database at `url`, such as `sqlite:////data/seedbed.db`. Threads may share it; a
    process that forks opens its own. All methods block: async code calls them in threads."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self.url = url
        self.datasets = Datasets(self._database)
        self.uploads = Uploads(self._database)
        self.jobs = Jobs(self._database)
        self.trials = Trials(self._database)
        self.events = Events(self._database)
        self.models = Models(self._database)
        self.winners = Winners(self._database)
        self.tokens = Tokens(self._database)
        self.audit = Audit(self._database)

    def migrate(self) -> None:
        """Brings the database to this version's tables. Raises StartupError for a newer one."""
        with self._database.reading() as connection:
            current = migrations.revision(connection) == migrations.HEAD
        if not current:
            with self._database.writing() as connection:
                migrations.upgrade(connection)

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

    def close(self) -> None:
        """Closes the connections."""
        self._database.close()
