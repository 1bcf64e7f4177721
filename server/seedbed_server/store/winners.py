"""The best settings of searches that succeeded, for later searches of the same project."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from seedbed_server.jobs.values import Winner
from seedbed_server.store import tables
from seedbed_server.store.database import Database
from seedbed_server.store.job_writer import JobWriter
from seedbed_server.store.outages import retried

# More than these say nothing new, and each is compared.
MOST_READ = 500

_table = tables.winners


@retried("_database")
class Winners:
    """The rows of winners. A row goes with its job."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, writer: JobWriter, winner: Winner) -> None:
        """Writes the winner in the transaction that ends its job, in the place of an earlier one of
        the same job."""
        writer.execute(sa.delete(_table).where(_table.c.job == winner.job))
        row = {field: getattr(winner, field) for field in winner.__dataclass_fields__}
        row |= {"parameters": dict(winner.parameters), "features": dict(winner.features)}
        writer.execute(sa.insert(_table).values(row))

    def of(self, project: str, task: str) -> list[Winner]:
        """The newest winners of a task in one project, at most 500, the newest first."""
        select = (
            sa.select(_table)
            .where(_table.c.project == project, _table.c.task == task)
            .order_by(_table.c.create_time.desc(), _table.c.job)
            .limit(MOST_READ)
        )
        with self._database.reading() as connection:
            return [_from_row(row) for row in connection.execute(select)]


def _from_row(row: Any) -> Winner:
    return Winner(**row._mapping)
