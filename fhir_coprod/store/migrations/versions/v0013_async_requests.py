"""Adds the table of requests that are answered later, with their answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "async_request",
        sa.Column("id", NAME, nullable=False),
        sa.Column("until", LONG, nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("seal", LONG, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("async_request_pk")),
    )
