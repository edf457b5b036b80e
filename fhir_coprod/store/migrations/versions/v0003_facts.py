"""Adds to each standing the facts that it was judged by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("standing", sa.Column("facts", sa.LargeBinary(), nullable=True))
