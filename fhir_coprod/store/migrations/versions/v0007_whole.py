"""Adds what the sync knows about wholeness: full looks, pulls cut off, what was not given, other addresses,
and who put a dead letter aside."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("feed", sa.Column("last_full", LONG, nullable=False, server_default="0"))
    op.add_column("feed", sa.Column("short_looks", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("dead_letter", sa.Column("dismissed_by", NAME, nullable=False, server_default=""))
    op.add_column("dead_letter", sa.Column("dismissed_because", NAME, nullable=False, server_default=""))
    op.add_column("dead_letter", sa.Column("dismissed_at", LONG, nullable=False, server_default="0"))
    op.create_table(
        "unfinished",
        sa.Column("ehr", NAME, nullable=False),
        sa.Column("type", NAME, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("ehr", "type", name=op.f("unfinished_pk")),
    )
    op.create_table(
        "unread",
        sa.Column("ehr", NAME, nullable=False),
        sa.Column("type", NAME, nullable=False),
        sa.Column("what", NAME, nullable=False),
        sa.Column("reason", NAME, nullable=False),
        sa.Column("since", LONG, nullable=False),
        sa.PrimaryKeyConstraint("ehr", "type", "what", name=op.f("unread_pk")),
    )
    op.create_table(
        "ehr_base",
        sa.Column("ehr", NAME, nullable=False),
        sa.Column("base", NAME, nullable=False),
        sa.PrimaryKeyConstraint("ehr", "base", name=op.f("ehr_base_pk")),
    )
