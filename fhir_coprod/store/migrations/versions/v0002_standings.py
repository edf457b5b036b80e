"""Adds the table that remembers what the watch last found about each referral."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "standing",
        sa.Column("referral", NAME, nullable=False),
        sa.Column("ehr", NAME, nullable=False),
        sa.Column("interest", sa.Integer(), nullable=False),
        sa.Column("old", sa.Boolean(), nullable=False),
        sa.Column("stage", NAME, nullable=False),
        sa.Column("since", LONG, nullable=False),
        sa.Column("due", LONG, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("referral", name=op.f("standing_pk")),
    )
    op.create_index("standing_due_idx", "standing", ["due"], unique=False)
    op.create_index(
        "standing_interest_idx",
        "standing",
        ["interest", "referral"],
        unique=False,
        sqlite_where=sa.text("interest > 0"),
        postgresql_where=sa.text("interest > 0"),
    )
    op.create_index(
        "standing_old_idx",
        "standing",
        ["ehr"],
        unique=False,
        sqlite_where=sa.text("old"),
        postgresql_where=sa.text("old"),
    )
