"""Constraints of jobs, latencies of models."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("constraints", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("models", sa.Column("latency_seconds", sa.Float(), nullable=True))
