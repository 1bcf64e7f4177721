"""Jobs that begin with learning rate range tests."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column(
        "jobs",
        sa.Column("find_learning_rate", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
