"""Where the database is: what the setting `database` may say, and how it is shown."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from seedbed_server.errors import StartupError

SETTING = "--database (SEEDBED_DATABASE)"
_EXAMPLE = "postgresql+psycopg://USER@HOST:5432/NAME"
_DRIVER = "postgresql+psycopg"
_NAMES = (_DRIVER, "postgresql", "postgres")
_SECRET = ("password", "sslpassword")


def server_url(text: str) -> str:
    """The setting's text as the URL that `Store` takes. Raises StartupError for anything that is no
    address of a PostgreSQL server; the text is not repeated, since it may hold a password."""
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError) as error:
        raise StartupError(
            f"{SETTING} is no address of a database; write {_EXAMPLE}, and %40 for an @ within the "
            "password",
            reason="DATABASE_ADDRESS",
        ) from error
    if url.drivername not in _NAMES:
        raise StartupError(
            f"{SETTING} names a database of the kind {url.drivername!r}; it takes {_EXAMPLE}, and "
            "where it is not given, SQLite in the data directory is used",
            reason="DATABASE_ADDRESS",
        )
    return url.set(drivername=_DRIVER).render_as_string(hide_password=False)


def holds_password(text: str) -> bool:
    """Whether the setting's text names a password; False where it is no address at all."""
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError):
        return False
    return bool(url.password) or any(name in url.query for name in _SECRET)


def shown(url: str) -> str:
    """The URL without anything secret, for messages."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return f"the database {parsed.database}"
    where = f" at {parsed.host}:{parsed.port or 5432}" if parsed.host else ""
    return f"the database {parsed.database or ''!r}{where}"


def without_secrets(text: str, url: str) -> str:
    """A driver's message in which nothing secret of the URL stands, on one line."""
    parsed = sa.make_url(url)
    secrets = [parsed.password, *(parsed.query.get(name) for name in _SECRET)]
    for secret in secrets:
        if secret:
            text = text.replace(str(secret), "…")
    return " ".join(text.split())
