"""Newest-first lists, which datasets, jobs and models share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa

from seedbed_server.store.database import Database
from seedbed_server.store.pages import Page, PageRequest, make_token, read_token

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def newest_first(
    database: Database,
    table: sa.Table,
    conditions: Sequence[sa.ColumnElement[bool]],
    query: Sequence[Any],
    page: PageRequest,
    read: Callable[[Any], T],
) -> Page[T]:
    """One page of a table that has `id` and `create_time`.

    `query` is what the token is bound to. New rows come before the first page, so none is missed or
    returned twice while paging. Raises InvalidArgument for a bad token or size.
    """
    created, key = table.c.create_time, table.c.id
    select = sa.select(table).where(*conditions).order_by(created.desc(), key.desc())
    position = read_token(query, page.token, (int, str))
    if position is not None:
        try:
            time = _EPOCH + timedelta(microseconds=position[0])
        except OverflowError:
            time = _EPOCH
        select = select.where(sa.or_(created < time, sa.and_(created == time, key < position[1])))
    limit = page.limit
    with database.reading() as connection:
        rows = connection.execute(select.limit(limit + 1)).all()
    token = ""
    if len(rows) > limit:
        last = rows[limit - 1]
        microseconds = (last.create_time - _EPOCH) // timedelta(microseconds=1)
        token = make_token(query, (microseconds, last.id))
    return Page(tuple(read(row) for row in rows[:limit]), token)
