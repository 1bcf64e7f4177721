"""Who called what, as far back as there is room."""

from __future__ import annotations

import builtins
from collections.abc import Sequence

import sqlalchemy as sa

from seedbed_server.store import tables
from seedbed_server.store.database import Database
from seedbed_server.store.outages import retried
from seedbed_server.store.values import AuditRow

_table = tables.audit


@retried("_database")
class Audit:
    """The rows of the audit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, rows: Sequence[AuditRow], keep: int) -> None:
        """Adds rows, the oldest first, and drops all but the newest `keep`."""
        values = [
            {field: getattr(row, field) for field in row.__dataclass_fields__} for row in rows
        ]
        newest = sa.select(sa.func.max(_table.c.number)).scalar_subquery()
        with self._database.writing(exclusive=False) as connection:
            connection.execute(sa.insert(_table), values)
            connection.execute(sa.delete(_table).where(_table.c.number <= newest - keep))

    def list(self, limit: int, token: str = "") -> builtins.list[AuditRow]:
        """The newest rows first, at most `limit`; those of one token where it is given."""
        columns = [_table.c[field] for field in AuditRow.__dataclass_fields__]
        select = sa.select(*columns).order_by(_table.c.number.desc()).limit(limit)
        if token:
            select = select.where(_table.c.token == token)
        with self._database.reading() as connection:
            return [AuditRow(**row._mapping) for row in connection.execute(select)]
