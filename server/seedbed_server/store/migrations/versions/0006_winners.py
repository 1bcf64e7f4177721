"""Starting points of jobs, where settings of trials came from, best settings of earlier jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column(
        "jobs", sa.Column("starting_points", sa.JSON(), nullable=False, server_default="[]")
    )
    op.add_column(
        "jobs",
        sa.Column("ignore_earlier_jobs", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.add_column("jobs", sa.Column("earlier_jobs", sa.JSON(), nullable=True))
    op.add_column("trials", sa.Column("origin", sa.String(24), nullable=False, server_default=""))
    op.add_column(
        "trials", sa.Column("origin_job", sa.String(63), nullable=False, server_default="")
    )
    op.create_table(
        "winners",
        sa.Column("job", sa.String(63), nullable=False),
        sa.Column("project", sa.String(63), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("target_type", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("architecture", sa.Text(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("features", sa.JSON(), nullable=False),
        sa.Column("dataset_fingerprint", sa.String(64), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job"], ["jobs.id"], name=op.f("fk_winners_job"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_winners")),
    )
    op.create_index(
        op.f("ix_winners_project_task_create_time"), "winners", ["project", "task", "create_time"]
    )
