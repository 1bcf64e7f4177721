"""Jobs that train a model again, what the phases of a job took, digests and recipes of models."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_MICROSECONDS = 1e6


def upgrade() -> None:
    op.add_column("jobs", sa.Column("state_time", sa.BigInteger(), nullable=True))
    op.add_column(
        "jobs", sa.Column("replay_of", sa.String(length=63), nullable=False, server_default="")
    )
    op.add_column("jobs", sa.Column("replay", sa.JSON(none_as_null=True), nullable=True))
    op.add_column(
        "models", sa.Column("digest", sa.String(length=64), nullable=False, server_default="")
    )
    op.add_column("models", sa.Column("recipe", sa.JSON(), nullable=False, server_default="{}"))
    jobs = sa.table(
        "jobs",
        sa.column("id"),
        sa.column("consumption", sa.JSON),
        sa.column("start_time"),
        sa.column("end_time"),
    )
    connection = op.get_bind()
    ended = jobs.c.start_time.is_not(None) & jobs.c.end_time.is_not(None)
    for row in connection.execute(sa.select(jobs).where(ended)).all():
        # Of what an earlier version did, only the whole is known.
        seconds = (row.end_time - row.start_time) / _MICROSECONDS
        consumption = {**row.consumption, "searching_seconds": seconds}
        connection.execute(
            sa.update(jobs).where(jobs.c.id == row.id).values(consumption=consumption)
        )
