"""Adds the shares of each scope by day.

The scope of each order comes with 0005, which makes the table of standings anew.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "share",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ehr", NAME, nullable=False),
        sa.Column("thing", NAME, nullable=False),
        sa.Column("orders", sa.Integer(), nullable=False),
        sa.Column("hidden", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day", "ehr", "thing", name=op.f("share_pk")),
    )
