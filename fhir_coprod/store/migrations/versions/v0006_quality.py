"""Adds the marks of resources that break a rule and are kept all the same, and those of staged records."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "quality",
        sa.Column("key", LONG, autoincrement=False, nullable=False),
        sa.Column("element", NAME, autoincrement=False, nullable=False),
        sa.Column("rule", NAME, autoincrement=False, nullable=False),
        sa.Column("type", NAME, nullable=False),
        sa.Column("version", LONG, nullable=False),
        sa.Column("since", LONG, nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("message", NAME, nullable=False),
        sa.PrimaryKeyConstraint("key", "element", "rule", name=op.f("quality_pk")),
        sqlite_with_rowid=False,
    )
    op.create_index("quality_type_idx", "quality", ["type", "key"], unique=False)
    op.add_column("received_base", sa.Column("marks", sa.LargeBinary(), nullable=True))
