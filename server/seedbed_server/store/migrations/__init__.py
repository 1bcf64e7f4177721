"""The database's history: one file a change, applied in order when a store is opened.

`HEAD` names the newest; a test holds it to the files.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from seedbed_server.errors import StartupError

HEAD = "0010"


def revision(connection: sa.Connection) -> str:
    """The newest migration that was applied; empty for a new database."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return ""
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return str(found or "")


def upgrade(connection: sa.Connection, name: str = "the database") -> None:
    """Brings the database to `HEAD`, inside the connection's transaction. `name` is for messages.

    Raises StartupError where a newer seedbed has written the database.
    """
    at = revision(connection)
    if at == HEAD:
        return
    # Imported here since it costs a third of a second and is seldom needed.
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, HEAD)
    except CommandError as error:
        raise StartupError(
            f"{name} is at revision {at!r}, which this version of seedbed does not know "
            f"(it knows up to {HEAD!r}); use the version that wrote it, or a newer one",
            reason="DATABASE_TOO_NEW",
        ) from error
