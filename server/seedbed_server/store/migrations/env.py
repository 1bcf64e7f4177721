"""Run by alembic for each upgrade, on the connection that `upgrade` was given."""

from alembic import context

from seedbed_server.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,
)
context.run_migrations()
