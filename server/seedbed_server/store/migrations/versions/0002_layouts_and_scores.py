"""Layouts and roles of datasets, all scores of models."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column(
        "datasets", sa.Column("layout", sa.String(length=32), nullable=False, server_default="")
    )
    op.add_column(
        "models", sa.Column("test_scores", sa.JSON(), nullable=False, server_default="[]")
    )
    datasets = sa.table("datasets", sa.column("id"), sa.column("sources", sa.JSON))
    connection = op.get_bind()
    for row in connection.execute(sa.select(datasets)).all():
        sources = [{"uri": uri, "split": split} for uri, split in row.sources]
        connection.execute(
            sa.update(datasets).where(datasets.c.id == row.id).values(sources=sources)
        )
