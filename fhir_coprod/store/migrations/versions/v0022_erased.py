"""Adds the tables of what was erased on a patient's behalf."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "erased_range",
        sa.Column("first", LONG, nullable=False, autoincrement=False),
        sa.Column("last", LONG, nullable=False),
        sa.PrimaryKeyConstraint("first", name=op.f("erased_range_pk")),
    )
    op.create_table(
        "erased_record",
        sa.Column("hash", NAME, nullable=False),
        sa.Column("at", LONG, nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("erased_record_pk")),
    )
