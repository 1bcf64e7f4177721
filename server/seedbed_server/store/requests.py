"""Creates that were answered, so that the same request again gets the same answer."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from seedbed_sdk.errors import AlreadyExists
from seedbed_server.store import tables
from seedbed_server.store.values import RequestKey, now

_table = tables.requests


def answered(connection: sa.Connection, request: RequestKey | None) -> str | None:
    """The id of what the request created earlier.

    Raises AlreadyExists where the request id was used with other content.
    """
    if request is None:
        return None
    row = connection.execute(
        sa.select(_table).where(
            _table.c.project == request.project, _table.c.request_id == request.request_id
        )
    ).first()
    if row is None:
        return None
    if (row.method, row.digest) != (request.method, request.digest):
        raise AlreadyExists(
            f"request_id {request.request_id!r} was used for another {row.method} request, which "
            f"created {row.resource!r}; use a fresh UUID for a new request",
            reason="REQUEST_ID_REUSED",
        )
    return str(row.resource)


def remember(connection: sa.Connection, request: RequestKey | None, resource: str) -> None:
    """Notes what the request created, in the transaction that creates it."""
    if request is not None:
        connection.execute(
            sa.insert(_table).values(
                project=request.project,
                request_id=request.request_id,
                method=request.method,
                digest=request.digest,
                resource=resource,
                create_time=now(),
            )
        )


def forget(connection: sa.Connection, before: datetime) -> None:
    """Drops the requests that are too old to be retried."""
    connection.execute(sa.delete(_table).where(_table.c.create_time < before))
