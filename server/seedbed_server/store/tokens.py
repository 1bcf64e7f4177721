"""The tokens that callers present."""

from __future__ import annotations

import builtins
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from seedbed_sdk.errors import NotFound
from seedbed_server.store import tables
from seedbed_server.store.database import Database
from seedbed_server.store.outages import retried
from seedbed_server.store.values import now
from seedbed_server.tokens import Role, Token

_table = tables.tokens


@retried("_database")
class Tokens:
    """The rows of tokens. Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, token: Token) -> None:
        """Adds a token."""
        row = {field: getattr(token, field) for field in token.__dataclass_fields__}
        row |= {"projects": list(token.projects), "role": token.role.value}
        with self._database.writing(exclusive=False) as connection:
            connection.execute(sa.insert(_table).values(row))

    def of(self, ids: Collection[str]) -> dict[str, Token]:
        """Those of the tokens that exist, by their ids."""
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(_table).where(_table.c.id.in_(ids)))
            return {row.id: _from_row(row) for row in rows}

    def list(self) -> builtins.list[Token]:
        """All tokens, the newest first, those that do not hold any more too."""
        select = sa.select(_table).order_by(_table.c.create_time.desc(), _table.c.id)
        with self._database.reading() as connection:
            return [_from_row(row) for row in connection.execute(select)]

    def revoke(self, token_id: str) -> Token:
        """Ends a token; the time of the first revocation stays. Raises NotFound."""
        with self._database.writing(exclusive=False) as connection:
            connection.execute(
                sa.update(_table)
                .where(_table.c.id == token_id, _table.c.revoke_time.is_(None))
                .values(revoke_time=now())
            )
            row = connection.execute(sa.select(_table).where(_table.c.id == token_id)).first()
        if row is None:
            raise NotFound(
                f"there is no token {token_id!r}; `seedbed token list` shows those there are",
                metadata={"token": token_id},
            )
        return _from_row(row)


def _from_row(row: Any) -> Token:
    fields = {**row._mapping, "role": Role(row.role), "projects": tuple(row.projects)}
    return Token(**fields)
