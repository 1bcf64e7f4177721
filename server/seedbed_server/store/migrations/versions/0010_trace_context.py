"""The trace that a job's attempts belong to."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column(
        "jobs", sa.Column("trace_context", sa.JSON(), nullable=False, server_default="{}")
    )
