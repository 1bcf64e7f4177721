"""What it takes to run a trial again."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("trials", sa.Column("recipe", sa.JSON(), nullable=False, server_default="{}"))
