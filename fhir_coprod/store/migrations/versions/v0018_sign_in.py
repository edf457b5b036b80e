"""Adds the tables of people who are signed in to the pages, and of the roles that they were given."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "session",
        sa.Column("hash", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("shown", NAME, nullable=False),
        sa.Column("claimed", NAME, nullable=False),
        sa.Column("began", LONG, nullable=False),
        sa.Column("proven", LONG, nullable=False),
        sa.Column("acr", NAME, nullable=False),
        sa.Column("used", LONG, nullable=False),
        sa.Column("ends", LONG, nullable=False),
        sa.Column("acting", NAME, nullable=False),
        sa.Column("seal", LONG, nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("session_pk")),
    )
    op.create_index("session_name_idx", "session", ["name"])
    op.create_index("session_ends_idx", "session", ["ends"])
    op.create_table(
        "user_grant",
        sa.Column("name", NAME, nullable=False),
        sa.Column("role", NAME, nullable=False),
        sa.Column("department", NAME, nullable=False),
        sa.Column("since", LONG, nullable=False),
        sa.Column("until", LONG, nullable=False),
        sa.PrimaryKeyConstraint("name", "role", "department", name=op.f("user_grant_pk")),
    )
